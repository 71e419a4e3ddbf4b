#!/usr/bin/env python
"""Run `hf-prompt build_entities` from a checkout of the repository."""

import sys

from hf_prompt_cli.commands.build_entities import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
