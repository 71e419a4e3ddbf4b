"""How a command ends when something goes wrong: one line that says what is kept, what to type next, and a code."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from huggingface_hub.errors import StrictDataclassError

from hf_prompt_cli.console import output_is_closed


AGAIN = "Run the same command again to start over."
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

BEFORE_A_FILE = "\n- "
"""Files that are listed have a line each."""


class Terminated(KeyboardInterrupt):
    """A request to end (SIGTERM), which is then handled as Ctrl-C is."""


@contextmanager
def ending(kept: Callable[[], str], again: str = "") -> Iterator[None]:
    """Turns what users, files and machines do wrong into a line on stderr and an exit code; the rest are our errors.

    Args:
        kept: says, when it went wrong, what is kept and what to type next.
        again: what else to say of a command that was interrupted; after an error, repeating it would not help.

    Raises:
        SystemExit: with "error: …", whose code is 1; or 130 after Ctrl-C, 143 after SIGTERM.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"\ninterrupted. {kept()} {again}".rstrip(), file=sys.stderr)
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except torch.OutOfMemoryError as error:
        sys.exit(f"error: {in_a_line(error).partition('. ')[0].rstrip('.')}. Try smaller batches. {kept()}")
    except (ImportError, MemoryError, OSError, StrictDataclassError, TypeError, ValueError) as error:
        if isinstance(error, BrokenPipeError) and output_is_closed():
            raise
        said = in_a_line(error)
        sys.exit(f"error: {said}{chr(10) if BEFORE_A_FILE in said else ' '}{kept()}")
    finally:
        signal.signal(signal.SIGTERM, before)


def in_a_line(error: BaseException) -> str:
    """What an error says, as a sentence in a line; behind it, lists of files stay as they are."""
    said = re.sub(r"[ \t]*\n(?!- )\s*", " ", str(error)).strip() or type(error).__name__
    return said if said.endswith((".", "!", "?")) or BEFORE_A_FILE in said else f"{said}."


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
