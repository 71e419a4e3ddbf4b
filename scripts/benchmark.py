#!/usr/bin/env python
"""`hf-prompt benchmark`, from a checkout."""

import sys

from hf_prompt_cli.commands.benchmark import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
