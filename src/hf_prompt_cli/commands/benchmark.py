"""Measure a method against its reference implementation's way, side by side in one run.

    hf-prompt benchmark coop --classes 10 100
    hf-prompt benchmark coop --classes 10 100 397 1000 --backbones vit-b-32 vit-b-16 --output performance.md
    hf-prompt benchmark action_clip --parts text --threads 1

The first argument names the method; `hf-prompt benchmark coop --help` says what is measured. Each table is printed as
soon as it is complete. Set --threads to the number of cores that are free.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType

from hf_prompt_cli.methods import methods, methods_with
from hf_prompt_cli.parsing import chosen, examples_parser, parse


IMPORT = "import"
"""Measured as the methods are: how long importing the package takes."""


def subjects() -> list[str]:
    """What can be measured."""
    return [*methods_with("benchmark"), IMPORT]


def benchmark_of(subject: str) -> ModuleType:
    if subject == IMPORT:
        return import_module("hf_prompt_cli.benchmark_import")
    return import_module(f"hf_prompt_models.models.{subject}.benchmark_{subject}")


def parsers() -> dict[str, argparse.ArgumentParser]:
    return {f"benchmark {subject}": parser_of(subject) for subject in subjects()}


def parser_of(subject: str) -> argparse.ArgumentParser:
    parser = examples_parser(f"hf-prompt benchmark {subject}", benchmark_of(subject).__doc__)
    benchmark_of(subject).add_arguments(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: OMP_NUM_THREADS, else all cores")
    parser.add_argument("--output", metavar="FILE", help="also write the tables to a Markdown file")
    return parser


def main(argv: Sequence[str]) -> int:
    if argv and argv[0] in methods() and argv[0] not in subjects():
        sys.exit(f"error: there is no benchmark of {argv[0]}.")
    help_text = f"{__doc__}\nTo measure: {', '.join(subjects())}"
    subject, flags = chosen("hf-prompt benchmark", "method", argv, subjects(), help_text), argv[1:]

    import torch
    from transformers.utils import logging

    from hf_prompt_cli.ending import ending
    from hf_prompt_models.utils.files import write_text

    arguments = parse(parser_of(subject), flags)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.set_verbosity_error()
    written = ["# Performance", f"```bash\n{shlex.join(['hf-prompt', 'benchmark', *argv])}\n```"]
    with ending(
        lambda: "What was printed is measured" + (f", and in {arguments.output}." if arguments.output else ".")
    ):
        for part in printed(benchmark_of(subject).run(arguments)):
            written.append(part)
            if arguments.output:
                write_text(arguments.output, "\n\n".join(written) + "\n")
    return 0


def printed(parts: Iterator[str]) -> Iterator[str]:
    for part in parts:
        print(f"{part}\n", flush=True)
        yield part
