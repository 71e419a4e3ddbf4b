"""Print to consoles that cannot show every character, and to pipes that are closed early."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


CLOSED_PIPE = 128 + 13
"""Exit code that shells report for a program that wrote to a closed pipe (SIGPIPE)."""


@contextmanager
def printing() -> Iterator[None]:
    r"""Escape characters that the console's encoding lacks, such as `\u9375`, and exit quietly on closed output.

    Raises:
        SystemExit: With code 141, if the reader of the output has closed it, as `head` does.
    """
    if sys.stdout is None:  # closed before the program started, as by a shell's `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except SystemExit:
        output_is_closed()  # the remaining output is lost; the exit code stays the same
        raise
    except BrokenPipeError:
        end_if_output_is_closed()
        raise


def end_if_output_is_closed() -> None:
    """Exit after a `BrokenPipeError` if it is that of the standard output.

    Raises:
        SystemExit: With code 141, if the reader of the standard output has closed it.
    """
    if output_is_closed("\n"):  # after long output the buffer is empty, and a flush alone would write nothing
        sys.exit(CLOSED_PIPE)


def output_is_closed(more: str = "") -> bool:
    """Return whether the reader of the standard output has closed it. If so, further output is discarded.

    Args:
        more: Text to write after the buffered output.
    """
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        return True
    except OSError:  # a full disk, which was already reported where it occurred
        discard(sys.stdout)
    return False


def discard(stream: TextIO) -> None:
    """Discard the buffered and any further output of a stream, so that Python does not report it again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def print_json(value: Any) -> None:
    """Print a value as JSON, with JSON escapes for characters that the console's encoding lacks."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)
