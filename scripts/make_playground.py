#!/usr/bin/env python
"""`hf-prompt make_playground`, from a checkout."""

import sys

from hf_prompt_cli.console import printing
from hf_prompt_cli.make_playground import main


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
