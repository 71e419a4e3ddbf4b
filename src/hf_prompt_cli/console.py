"""Printing on consoles that cannot show every character, and into pipes that are closed early."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


CLOSED_PIPE = 128 + 13
"""What shells report of a program that wrote into a closed pipe (SIGPIPE)."""


@contextmanager
def printing() -> Iterator[None]:
    """Print what the console's encoding lacks as escapes, such as `\\u9375`, and end quietly when nobody reads on.

    Raises:
        SystemExit: with the code 141, if the reader of the output has closed it, as `head` does.
    """
    if sys.stdout is None:  # closed before the program began, as by a shell's `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except SystemExit:
        output_is_closed()  # what was to be printed is lost, and the exit code stays
        raise
    except BrokenPipeError:
        end_if_output_is_closed()
        raise


def end_if_output_is_closed() -> None:
    """End after a `BrokenPipeError` if it is that of the standard output.

    Raises:
        SystemExit: with the code 141, if the reader of the standard output has closed it.
    """
    if output_is_closed("\n"):  # of long output nothing is held back, and a flush would find nothing to write
        sys.exit(CLOSED_PIPE)


def output_is_closed(more: str = "") -> bool:
    """Return whether the reader of the standard output has closed it. If so, further output is discarded.

    Args:
        more: what to write with what is held back.
    """
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        return True
    except OSError:  # a full disk, which was reported where it was met first
        discard(sys.stdout)
    return False


def discard(stream: TextIO) -> None:
    """Discard what a stream holds back and what follows: Python would report it once more when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def print_json(value: Any) -> None:
    """Print JSON; characters that the console's encoding lacks as JSON's own escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)
