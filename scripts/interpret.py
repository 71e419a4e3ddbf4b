#!/usr/bin/env python
"""`hf-prompt interpret`, from a checkout."""

import sys

from hf_prompt_cli.commands.interpret import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
