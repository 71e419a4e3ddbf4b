#!/usr/bin/env python
"""Measure a method against its reference implementation's way, side by side in one run.

    python scripts/benchmark.py coop --classes 10 100
    python scripts/benchmark.py coop --classes 10 100 397 1000 --backbones vit-b-32 vit-b-16 --output performance.md
    python scripts/benchmark.py action_clip --parts text --threads 1

The first argument names the method; `benchmark.py coop --help` says what is measured. Each table is printed as soon as
it is complete. Set --threads to the number of cores that are free.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module

import torch
from transformers.utils import logging

from hf_prompt_models.data.files import write_text
from hf_prompt_models.models import METHODS, methods_with


def main(argv: list[str]) -> None:
    methods = methods_with("benchmark")
    if not argv or argv[0] not in METHODS:
        print(f"{__doc__}\nMethods: {', '.join(methods)}")
        sys.exit(0 if argv[:1] in (["-h"], ["--help"]) else 2)
    method, *flags = argv
    if method not in methods:
        sys.exit(f"There is no benchmark of {method}.")
    benchmark = import_module(f"hf_prompt_models.models.{method}.benchmark_{method}")
    parser = argparse.ArgumentParser(prog=f"benchmark.py {method}", description=benchmark.__doc__)
    benchmark.add_arguments(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: OMP_NUM_THREADS, else all cores")
    parser.add_argument("--output", metavar="FILE", help="also write the tables to a Markdown file")
    arguments = parser.parse_args(flags)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    written = ["# Performance", f"```bash\n{shlex.join(['python', 'scripts/benchmark.py', *argv])}\n```"]
    try:
        for part in printed(benchmark.run(arguments)):
            written.append(part)
            if arguments.output:
                write_text(arguments.output, "\n\n".join(written) + "\n")
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")


def printed(parts: Iterator[str]) -> Iterator[str]:
    for part in parts:
        print(f"{part}\n", flush=True)
        yield part


if __name__ == "__main__":
    main(sys.argv[1:])
