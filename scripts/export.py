#!/usr/bin/env python
"""`hf-prompt export`, from a checkout."""

import sys

from hf_prompt_cli.export import main


if __name__ == "__main__":
    main(sys.argv[1:])
