"""Parsing shared by all command lines: examples in the help, and suggestions for words that do not exist."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


def examples_parser(prog: str, description: str | None, conflict_handler: str = "error") -> argparse.ArgumentParser:
    """Return a parser whose help shows its description unchanged, and that accepts no abbreviated flags.

    Args:
        prog: Name of the command, such as "hf-prompt predict".
        description: Description of the command, with examples.
        conflict_handler: As for `ArgumentParser`.
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        conflict_handler=conflict_handler,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return " Did you mean …?" with the nearest of the words, or "" if none is near."""
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
    """Exit with code 2, and suggest the nearest flag, if a flag is not one of the parser's.

    Args:
        parser: Parser of a command.
        argv: The command line after the command.
        others: Flags that the command takes in other cases, with the reason why they do not apply here.
    """
    known = known_flags(parser)
    for flag in given_flags(argv):
        if flag in known:
            continue
        if reason := (others or {}).get(flag):
            parser.error(f"{flag} does not apply: {reason}. Remove it.")
        hint = did_you_mean(flag, known) or f" Run `{parser.prog} --help` for the list of flags."
        parser.error(f"there is no flag {flag}.{hint}")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command line, as `parser.parse_args` does after `check_flags`."""
    check_flags(parser, argv)
    return parser.parse_args(list(argv))


def chosen(command: str, kind: str, argv: Sequence[str], words: Sequence[str], help_text: str) -> str:
    """Return the first word of a command line, such as a method, which must be one of the given words.

    Prints the help and exits if it is `--help`; exits with code 2 if it is another word or missing.

    Args:
        command: Name of the command, such as "hf-prompt convert".
        kind: What the word names, such as "method".
        argv: The command line after the command.
        words: Allowed words.
        help_text: Text for `--help`.
    """
    word = argv[0] if argv else ""
    if word in ("-h", "--help"):
        print(help_text)
        sys.exit(0)
    if word not in words:
        hint = did_you_mean(word, words)
        said = f"there is no {kind} {word!r}.{hint}" if word else f"the {kind} is missing."
        print(f"{command}: {said} Choose one of: {', '.join(words)}", file=sys.stderr)
        sys.exit(2)
    return word
