#!/usr/bin/env python
"""`hf-prompt convert`, from a checkout."""

import sys

from hf_prompt_cli.convert import main


if __name__ == "__main__":
    main(sys.argv[1:])
