#!/usr/bin/env python
"""Benchmark a method against its reference implementation; `--help` lists the benchmarks."""

import sys

from benchmarks.main import main
from hf_prompt_cli.console import printing


if __name__ == "__main__":
    with printing():
        main(sys.argv[1:])
