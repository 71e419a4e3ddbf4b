"""What all command lines share: examples as they are written, and what was meant by a word that does not exist."""

import argparse
import sys
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


def examples_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows its description as it is written, and that guesses no shortened flag.

    Args:
        prog: what the command is called, such as "hf-prompt predict".
        description: what it does, with examples.
    """
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def output_file(name: str) -> str:
    """Return the name of a file to write, as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: if it has the suffix of an image or a video, as one of several files that a shell's
            pattern stands for: it would be replaced.
    """
    from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES  # slow to import, and not needed for help
    from hf_prompt_models.data.videos.reader import VIDEO_SUFFIXES

    if (suffix := Path(name).suffix.lower()) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{name!r} is the name of an image or a video ({suffix}); name a text file.")
    return name


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """ " Did you mean …?", with the nearest of the words; "" where none is near."""
    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""


def check_flags(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """End with exit code 2, and the nearest flag, if a flag is not one of the parser's.

    Args:
        parser: a command's.
        argv: what stands behind the command.
    """
    known = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    words = argv[: argv.index("--")] if "--" in argv else argv
    for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
        if flag not in known:
            hint = did_you_mean(flag, known) or f" `{parser.prog} --help` lists the flags."
            parser.error(f"there is no flag {flag}.{hint}")


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """What a command line says; as `parser.parse_args`, with `check_flags` before."""
    check_flags(parser, argv)
    return parser.parse_args(list(argv))


def refuse_flags(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, names: Collection[str], model: str, does: str
) -> None:
    """Refuse flags that do not apply to a model.

    Args:
        parser: the command's.
        arguments: what it parsed.
        names: the attributes of the flags.
        model: as the user named it.
        does: what the model does, such as "grounds phrases".

    Raises:
        ValueError: naming the first that was given.
    """
    for action in parser._actions:
        if action.dest in names and getattr(arguments, action.dest) != action.default:
            raise ValueError(f"{action.option_strings[0]} does not apply to {model}, which {does}. Leave it out.")


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
