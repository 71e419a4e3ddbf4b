#!/usr/bin/env python
"""Train the tiny models that ship with the package; `--help` lists them."""

import sys

from playground.main import main


if __name__ == "__main__":
    main(sys.argv[1:])
