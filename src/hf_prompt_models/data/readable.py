"""Which files can be decoded, found out before any work depends on it."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

from tqdm.auto import tqdm

from hf_prompt_models.utils.files import UnreadableFileError


logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Files = TypeVar("Files", bound="Selectable")


class Selectable(Protocol):
    """A data set of which some items can be selected."""

    def __len__(self) -> int: ...

    def select(self, indices: Sequence[int]) -> Self:
        """The items at `indices`, in that order."""


def check_all(
    items: Iterable[Item], check: Callable[[Item], object], on_unreadable: str, description: str, progress: bool = True
) -> tuple[list[Item], list[UnreadableFileError]]:
    """Sort out what cannot be decoded.

    Args:
        items: files, or whatever stands for one.
        check: raises UnreadableFileError for an item that cannot be decoded.
        on_unreadable: "skip" names each of those in a warning; "refuse" leaves that to `refuse`.
        description: of the progress bar.
        progress: whether to show it.

    Returns:
        The items that can be decoded, and the errors of the others.
    """
    kept: list[Item] = []
    broken: list[UnreadableFileError] = []
    for item in tqdm(items, desc=description, leave=False, disable=not progress):
        try:
            check(item)
            kept.append(item)
        except UnreadableFileError as error:
            if on_unreadable == "skip":
                logger.warning(f"Skipped. {error}")
            broken.append(error)
    return kept, broken


def refuse(errors: Sequence[UnreadableFileError]) -> None:
    """Raise one error for all of them, if there are any.

    Raises:
        UnreadableFileError: of the first one's type.
    """
    if not errors:
        return
    one = len(errors) == 1
    missing = all(isinstance(error.__cause__, FileNotFoundError) for error in errors)
    way_out = "Check the path" if missing else f"Repair or remove {'it' if one else 'them'}"
    advice = f"{way_out}, or leave such files out with --on_unreadable skip."
    if one:
        said = str(errors[0])
        raise type(errors[0])(f"{said if said.endswith('.') else said + '.'} {advice}") from errors[0]
    lines = "\n".join(f"- {error}" for error in errors)
    raise type(errors[0])(f"{len(errors)} files cannot be read. {advice}\n{lines}") from errors[0]


def without_unreadable(
    items: Files, run: Callable[[Files], Result], decode: Callable[[Files, int], object], on_unreadable: str, what: str
) -> Result:
    """Return what `run` makes of items, and run again without those that turn out to be unreadable.

    `check_all` does not decode all of a video, and files may vanish after it.

    Args:
        items: a data set with `select`.
        run: what is done with them.
        decode: reads an item of them as `run` does, by its index.
        on_unreadable: "skip" leaves out; "refuse" raises.
        what: what they are, in the plural.

    Raises:
        UnreadableFileError, FileNotFoundError: if a file cannot be read; or if none can.
    """
    while True:
        try:
            return run(items)
        except (UnreadableFileError, FileNotFoundError):
            if on_unreadable != "skip":
                raise
            kept, broken = check_all(
                range(len(items)), partial(decode, items), on_unreadable, f"Checking {what}", False
            )
            if not broken:
                raise
            report_skipped(kept, broken, what)
            items = items.select(kept)


def report_skipped(kept: Sequence[Item], broken: Sequence[UnreadableFileError], what: str) -> None:
    """Say how many were skipped, if any were.

    Args:
        kept: those that can be decoded.
        broken: the errors of the others.
        what: what they are, in the plural.

    Raises:
        UnreadableFileError: if none is left; of the first error's type.
    """
    if not broken:
        return
    if not kept:
        raise type(broken[0])(f"None of the {what} can be used.")
    logger.warning(f"Skipped {len(broken)} of the {len(kept) + len(broken)} {what}.")


def report_unread(columns: Sequence[str], read: Sequence[str], what: str) -> None:
    """Log which columns, or fields of objects, are not read, if there are any.

    Args:
        columns: those that there are.
        read: those that are read.
        what: what has them.
    """
    if unread := [column for column in columns if column not in read]:
        logger.warning(f"Columns of {what} that are not read: {', '.join(unread)}")
