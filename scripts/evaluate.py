#!/usr/bin/env python
"""`hf-prompt evaluate`, from a checkout."""

import sys

from hf_prompt_cli.evaluate import main


if __name__ == "__main__":
    main(sys.argv[1:])
