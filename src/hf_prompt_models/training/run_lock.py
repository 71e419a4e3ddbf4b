"""A lock that allows one run at a time in an output folder."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hf_prompt_models.utils.files import UNFINISHED, FolderInUseError, locked, naming_what_fails


LOCK = f"{UNFINISHED}run"
"""A folder that a run creates in its output folder and keeps locked.

If the run is killed, the lock is released, and the folder counts as abandoned.
"""
TRIES = 10


@contextmanager
def only_run(output_dir: str | os.PathLike, is_main: bool) -> Iterator[None]:
    """Keep other runs out of an output folder, because each would remove the other's checkpoints and results.

    Args:
        output_dir: the folder of the run, created if needed.
        is_main: whether this is the main process of the run, which holds the lock for all processes.

    Raises:
        FolderInUseError: if another run is using the folder.
    """
    if not is_main:
        yield
        return
    directory = Path(output_dir)
    with naming_what_fails(f"write to {str(directory)!r}"):
        directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for tries_left in reversed(range(TRIES)):
            (directory / LOCK).mkdir(exist_ok=True)
            try:
                stack.enter_context(locked(directory / LOCK))
                break
            except FolderInUseError as error:
                if not tries_left:
                    raise FolderInUseError(
                        f"Another run is writing to {str(directory)!r}. Wait until it has ended, or choose "
                        "another --output_dir."
                    ) from error
                time.sleep(0.1)  # a cleanup of abandoned files holds it for a moment
        try:
            yield
        finally:
            with suppress(OSError):  # the folder may have been removed
                (directory / LOCK).rmdir()
