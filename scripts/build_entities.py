#!/usr/bin/env python
"""`hf-prompt build_entities`, from a checkout."""

import sys

from hf_prompt_cli.build_entities import main


if __name__ == "__main__":
    main(sys.argv[1:])
