"""Exit messages of commands: one line with what was kept and what to run next, and an exit code."""

import errno
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType

import torch
from huggingface_hub.errors import StrictDataclassError

from hf_prompt_cli.console import end_if_output_is_closed


AGAIN = "Run the same command again to start over."
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Error codes of a full disk. Once there is space, the same command can continue."""

OURS = frozenset({"hf_prompt_cli", "hf_prompt_models"})
MOST_CHARACTERS = 400
"""Maximum length of a library's message; compilers print pages."""

BEFORE_A_FILE = "\n- "
"""Start of each line in a list of files."""


class Terminated(KeyboardInterrupt):
    """Request to terminate (SIGTERM), which is handled like Ctrl-C."""


@contextmanager
def ending(kept: Callable[[], str], again: str = "", fix: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn errors of users, files and machines into a line on stderr and an exit code; other errors are bugs.

    Args:
        kept: Returns, after an error, what was kept and what to run next.
        again: Additional text for an interrupted command; after an error, repeating the command would not help.
        fix: Replaces `kept` after an error that the same command would meet again, unlike a full disk or memory.

    Raises:
        SystemExit: With "error: …" and code 1; or with code 130 after Ctrl-C, 143 after SIGTERM.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        print("\n" + " ".join(filter(None, ["interrupted.", kept(), again])), file=sys.stderr)
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except torch.OutOfMemoryError as error:
        sys.exit(f"error: {in_a_line(error).partition('. ')[0].rstrip('.')}. Try smaller batches. {kept()}")
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            end_if_output_is_closed()
        expected = isinstance(error, (ImportError, MemoryError, OSError, StrictDataclassError, TypeError, ValueError))
        library = None if expected else library_that_raised(error)
        if not expected and library is None:
            raise  # a bug of this package
        said = in_a_line(error) if library is None else f"{library}: {shortened(error)}"
        of_the_machine = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in FULL)
        advice = kept() if of_the_machine or fix is None else fix()
        sys.exit(f"error: {said}{chr(10) if BEFORE_A_FILE in said else ' '}{advice}")
    finally:
        signal.signal(signal.SIGTERM, before)


def in_a_line(error: BaseException) -> str:
    """Return the message of an error as one sentence on one line, followed by lists of files unchanged.

    What Python calls `base_model_name_or_path` is a command's `--backbone`; `truncation=True` is not a flag.
    """
    said = re.sub(r"[ \t]*\n(?!- )\s*", " ", str(error)).strip() or type(error).__name__
    said = said.replace("base_model_name_or_path=...", "--backbone").replace("base_model_name_or_path", "--backbone")
    said = re.sub(r", or pass truncation=True( to truncate it)?", "", said)
    return said if said.endswith((".", "!", "?")) or BEFORE_A_FILE in said else f"{said}."


def library_that_raised(error: BaseException) -> str | None:
    """Return the installed library whose code raised an error, or `None` if this package's code did."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in OURS:
            return None
        if {"site-packages", "dist-packages"} & set(Path(frame.f_code.co_filename).parts):
            return package
    return None


def shortened(error: BaseException) -> str:
    """Return the message of a library's error on a line of limited length; that of a lookup error is a bare key."""
    said = in_a_line(error)
    if isinstance(error, LookupError):
        said = f"{type(error).__name__}: {said}"
    return said if len(said) <= MOST_CHARACTERS else f"{said[:MOST_CHARACTERS].rstrip()}…"


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
