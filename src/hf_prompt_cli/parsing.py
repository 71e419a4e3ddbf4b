"""What all command lines share: examples as they are written, and what was meant by a word that does not exist."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


def examples_parser(prog: str, description: str | None, conflict_handler: str = "error") -> argparse.ArgumentParser:
    """A parser whose help shows its description as it is written, and that guesses no shortened flag.

    Args:
        prog: what the command is called, such as "hf-prompt predict".
        description: what it does, with examples.
        conflict_handler: as of `ArgumentParser`.
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        conflict_handler=conflict_handler,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """ " Did you mean …?", with the nearest of the words; "" where none is near."""
    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def known_flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the flags of a parser with their actions; argparse has no public list of them."""
    return {flag: action for flag, action in parser._option_string_actions.items() if flag.startswith("--")}


def given_flags(argv: Sequence[str]) -> list[str]:
    """Return the flags in a command line, without their values."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def check_flags(parser: argparse.ArgumentParser, argv: Sequence[str], others: Mapping[str, str] | None = None) -> None:
    """End with exit code 2, and the nearest flag, if a flag is not one of the parser's.

    Args:
        parser: a command's.
        argv: what stands behind the command.
        others: flags that the command takes in other cases, with the reason why not in this one.
    """
    known = known_flags(parser)
    for flag in given_flags(argv):
        if flag in known:
            continue
        if reason := (others or {}).get(flag):
            parser.error(f"{flag} does not apply: {reason}. Leave it out.")
        hint = did_you_mean(flag, known) or f" `{parser.prog} --help` lists the flags."
        parser.error(f"there is no flag {flag}.{hint}")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """What a command line says; as `parser.parse_args`, with `check_flags` before."""
    check_flags(parser, argv)
    return parser.parse_args(list(argv))


def chosen(command: str, kind: str, argv: Sequence[str], words: Sequence[str], help_text: str) -> str:
    """The first word of a command line, such as a method, which must be one of some words.

    Prints the help and ends if it is `--help`, or with exit code 2 if it is another word, or none.

    Args:
        command: what is typed in front of it, such as "hf-prompt convert".
        kind: what it names.
        argv: what stands behind the command.
        words: what it may be.
        help_text: for `--help`.
    """
    word = argv[0] if argv else ""
    if word in ("-h", "--help"):
        print(help_text)
        sys.exit(0)
    if word not in words:
        hint = did_you_mean(word, words)
        said = f"there is no {kind} {word!r}.{hint}" if word else f"name a {kind}."
        print(f"{command}: {said} One of: {', '.join(words)}", file=sys.stderr)
        sys.exit(2)
    return word
