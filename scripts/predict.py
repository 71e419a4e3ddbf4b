#!/usr/bin/env python
"""`hf-prompt predict`, from a checkout."""

import sys

from hf_prompt_cli.console import printing
from hf_prompt_cli.predict import main


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
