#!/usr/bin/env python
"""`hf-prompt report`, from a checkout."""

import sys

from hf_prompt_cli.report import main


if __name__ == "__main__":
    main(sys.argv[1:])
