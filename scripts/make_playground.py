#!/usr/bin/env python
"""`hf-prompt make_playground`, from a checkout."""

import sys

from hf_prompt_cli.make_playground import main


if __name__ == "__main__":
    main(sys.argv[1:])
