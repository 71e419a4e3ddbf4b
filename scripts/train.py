#!/usr/bin/env python
"""Run `hf-prompt train` from a checkout of the repository.

`torchrun --nproc_per_node 2 scripts/train.py …` trains with two processes.
"""

import sys

from hf_prompt_cli.commands.train import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
