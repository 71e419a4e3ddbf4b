#!/usr/bin/env python
"""Run `hf-prompt interpret` from a checkout of the repository."""

import sys

from hf_prompt_cli.commands.interpret import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
