#!/usr/bin/env python
"""`hf-prompt convert`, from a checkout."""

import sys

from hf_prompt_cli.console import printing
from hf_prompt_cli.convert import main


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
