"""Entry point of `hf-prompt COMMAND …`, which finds the module of the command and runs it."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from hf_prompt_cli.console import printing
from hf_prompt_cli.parsing import did_you_mean, known_flags


COMMANDS = {
    "train": "train a model on your own classes, phrases, products or clips, and test it",
    "evaluate": "test a trained model on other data",
    "zero_shot": "create a classifier from class names, without training",
    "predict": "classify, ground, describe, retrieve or answer, from files",
    "convert": "convert checkpoints of the original code of the methods",
    "app": "try a trained model on a web page",
    "demo": "see a method train on generated data, offline",
    "compare": "compare methods on your own images in one table",
    "report": "create tables and curves of many runs",
    "export": "export an image classifier to ONNX",
    "interpret": "show the words nearest to a learned prompt",
    "build_entities": "build a vocabulary of entities from captions, for ALPRO",
    "make_playground": "generate the images, clips, scenes and cards of the demos",
}
"""Commands. Each has a module of the same name in `hf_prompt_cli.commands`, with `main(argv)` and `parsers()`."""

HELP = f"""usage: hf-prompt COMMAND …

Adapt vision-language models to your own data with prompts, from a handful of examples.

    hf-prompt demo                                  generate data, train on it, and predict; offline
    hf-prompt train                                 help for choosing a method, a backbone and the number of examples
    hf-prompt train coop --backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine
    hf-prompt predict mine photo.jpg
    hf-prompt predict openai/clip-vit-base-patch16 photos --class_names names.txt        without training
    hf-prompt app mine

Commands:
{"".join(f"    {name:<17}{text}{chr(10)}" for name, text in COMMANDS.items())}
`hf-prompt COMMAND --help` shows the flags and examples of a command. `hf-prompt --version` prints the version.

Exit codes:
    0    success, also if --on_unreadable skip left out some files, which are counted
    1    a problem with the input or the machine; one line reports the problem, what was kept, and how to continue
    2    an invalid command line
    130  interrupted by Ctrl-C; `train` saves a checkpoint first, and prints how to resume from it
    143  terminated by SIGTERM; as for 130
    141  the program that reads the output, such as `head`, has ended
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The command line after `hf-prompt`. Default: the arguments of the process.

    Returns:
        The exit code. Commands that fail raise `SystemExit` with theirs.
    """
    with printing():
        return run(*(sys.argv[1:] if argv is None else argv) or [""])


def run(command: str, *rest: str) -> int:
    """Run a command by its name.

    Args:
        command: Name of the command.
        rest: The command line after the name.

    Returns:
        The exit code.
    """
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if command == "--version":
        print(f"hf-prompt {version('hf_prompt_models')}")
        return 0
    if not command:
        print(HELP, end="", file=sys.stderr)
        return 2
    if command == "benchmark":
        print(
            "hf-prompt: benchmarks are not part of the package. Run `python scripts/benchmark.py` in a checkout of "
            "the repository.",
            file=sys.stderr,
        )
        return 2
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS) or " Run `hf-prompt --help` for the list of commands."
        print(f"hf-prompt: there is no command {command!r}.{hint}", file=sys.stderr)
        return 2
    return import_module(f"hf_prompt_cli.commands.{command}").main(list(rest))


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command, keyed by the words that call it: "predict", "train coop"."""
    modules = [import_module(f"hf_prompt_cli.commands.{command}") for command in COMMANDS]
    return {words: parser for module in modules for words, parser in module.parsers().items()}


def flags() -> dict[str, frozenset[str]]:
    """Return the flags of every command, with aliases, keyed by the words that call it. `--help` is left out."""
    return {words: frozenset(known_flags(parser)) - {"--help"} for words, parser in parsers().items()}
