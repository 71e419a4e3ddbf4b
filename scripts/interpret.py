#!/usr/bin/env python
"""`hf-prompt interpret`, from a checkout."""

import sys

from hf_prompt_cli.interpret import main


if __name__ == "__main__":
    main(sys.argv[1:])
