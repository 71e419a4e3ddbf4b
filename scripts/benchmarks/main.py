"""Benchmark a method against its reference implementation, both in the same run.

    python scripts/benchmark.py coop --classes 10 100
    python scripts/benchmark.py coop --classes 10 100 397 1000 --backbones vit-b-32 vit-b-16 --output performance.md
    python scripts/benchmark.py action_clip --parts text --threads 1

The first argument selects the benchmark; `python scripts/benchmark.py coop --help` describes it. Each table is printed
as soon as it is complete. Set --threads to the number of idle CPU cores.
"""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType

from hf_prompt_cli.parsing import chosen, examples_parser, parse


PROGRAM = "python scripts/benchmark.py"

TEXT_SIDE = ("ivlp", "kgcoop", "maple", "mmrl", "prograd", "promptsrc", "tcp")

NAMED_LIKE_MODULES = (
    "action_clip",
    "alpro",
    "auto",
    "cocoop",
    "coop",
    "cpt",
    "feature_adapter",
    "features",
    "gpu",
    "mantis",
    "whole_run",
)

MODULES = {
    "all": "suite",
    **{name: name for name in NAMED_LIKE_MODULES},
    **dict.fromkeys(TEXT_SIDE, "text_side"),
    "import": "importing",
}
"""The benchmarks, and the module of each one, which defines `add_arguments` and `run`."""


def benchmark_of(subject: str) -> ModuleType:
    """Import the module of a benchmark."""
    return import_module(f".{MODULES[subject]}", __package__)


def parser_of(subject: str) -> argparse.ArgumentParser:
    """Build the argument parser of a benchmark."""
    parser = examples_parser(f"{PROGRAM} {subject}", benchmark_of(subject).__doc__)
    parser.set_defaults(subject=subject)
    benchmark_of(subject).add_arguments(parser)
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of CPU threads (default: OMP_NUM_THREADS, else all cores)"
    )
    parser.add_argument("--output", metavar="FILE", help="also write the tables to a Markdown file")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the benchmark that the first argument names, and return the exit status."""
    help_text = f"{__doc__}\nBenchmarks: {', '.join(MODULES)}"
    subject, flags = chosen(PROGRAM, "benchmark", argv, list(MODULES), help_text), argv[1:]

    import torch  # slow to import, and not needed for the help
    from transformers.utils import logging

    from hf_prompt_cli.ending import ending
    from hf_prompt_models.utils.files import write_text

    arguments = parse(parser_of(subject), flags)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    written = ["# Performance", f"```bash\n{PROGRAM} {shlex.join(argv)}\n```"]
    with ending(
        lambda: (
            "The printed results are valid" + (f", and are also in {arguments.output}." if arguments.output else ".")
        )
    ):
        for part in printed(benchmark_of(subject).run(arguments)):
            written.append(part)
            if arguments.output:
                write_text(arguments.output, "\n\n".join(written) + "\n")
    return 0


def printed(parts: Iterator[str]) -> Iterator[str]:
    """Print each part of the output and yield it."""
    for part in parts:
        print(f"{part}\n", flush=True)
        yield part
