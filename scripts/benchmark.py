#!/usr/bin/env python
"""`hf-prompt benchmark`, from a checkout."""

import sys

from hf_prompt_cli.benchmark import main


if __name__ == "__main__":
    main(sys.argv[1:])
