"""How a command ends when something goes wrong: one line that says what is kept, what to type next, and a code."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from huggingface_hub.errors import StrictDataclassError


INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Terminated(KeyboardInterrupt):
    """A request to end (SIGTERM), which is then handled as Ctrl-C is."""


@contextmanager
def ending(kept: Callable[[], str]) -> Iterator[None]:
    """Turns what users, files and machines do wrong into a line on stderr and an exit code; the rest are our errors.

    Args:
        kept: says, when it went wrong, what is kept and what to type next.

    Raises:
        SystemExit: with "error: …", whose code is 1; or 130 after Ctrl-C, 143 after SIGTERM.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        print(f"\ninterrupted. {kept()}", file=sys.stderr)
        sys.exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED)
    except torch.OutOfMemoryError as error:
        first = str(error).partition("\n")[0]
        sys.exit(f"error: {first} Try smaller batches. {kept()}")
    except (ImportError, MemoryError, OSError, StrictDataclassError, TypeError, ValueError) as error:
        sys.exit(f"error: {error or type(error).__name__} {kept()}")
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
