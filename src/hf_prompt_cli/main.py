"""Entry point of `hf-prompt COMMAND …`, which finds the module of the command and runs it."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from hf_prompt_cli.console import printing
from hf_prompt_cli.parsing import did_you_mean, known_flags


COMMANDS = {
    "train": "teach a model your classes, phrases, products or clips, and test it",
    "evaluate": "test a trained model on other data",
    "zero_shot": "classify by class names alone, without training",
    "predict": "classify, ground, describe, find or answer, from files",
    "convert": "read checkpoints of the methods' original code",
    "app": "try a trained model on a web page",
    "demo": "see a method learn on drawn data, offline",
    "report": "tables and curves of many runs",
    "export": "write an image classifier as an ONNX file",
    "interpret": "the words nearest to a learned prompt",
    "build_entities": "a vocabulary of entities from captions, for ALPRO",
    "make_playground": "draw the pictures, clips, scenes and cards of the demos",
}
"""Commands. Each has a module of the same name in `hf_prompt_cli.commands`, with `main(argv)` and `parsers()`."""

HELP = f"""usage: hf-prompt COMMAND …

Adapt vision-language models to your own data with prompts, from a handful of examples.

    hf-prompt demo                                  see it work: draws pictures, learns from them, predicts
    hf-prompt train                                 which method, which backbone, how many examples
    hf-prompt train coop --backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine
    hf-prompt predict mine photo.jpg
    hf-prompt predict openai/clip-vit-base-patch16 photos --class_names names.txt        no training at all
    hf-prompt app mine

Commands:
{"".join(f"    {name:<17}{text}{chr(10)}" for name, text in COMMANDS.items())}
`hf-prompt COMMAND --help` shows a command's flags, with examples. `hf-prompt --version` names the version.

Exit codes: 0 all went well; 1 something is wrong with the input or the machine, and one line says what, what is kept
and what to type next; 2 the command line is wrong; 130 interrupted by Ctrl-C, 143 by a request to end (SIGTERM):
`train` has then saved a checkpoint, and says how to go on from it; 141 the program that reads the output, such as
`head`, has ended. Files that --on_unreadable skip leaves out are counted, and the code is 0 if any file was left.
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
        hint = did_you_mean(command, COMMANDS) or " `hf-prompt --help` lists the commands."
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
