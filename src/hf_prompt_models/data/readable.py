"""Checks that files can be decoded, made before training or inference starts."""

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
    """Protocol of a dataset whose items can be selected by index."""

    def __len__(self) -> int: ...

    def select(self, indices: Sequence[int]) -> Self:
        """Return the items at `indices`, in that order."""


def check_all(
    items: Iterable[Item], check: Callable[[Item], object], on_unreadable: str, description: str, progress: bool = True
) -> tuple[list[Item], list[UnreadableFileError]]:
    """Check which items can be decoded.

    Args:
        items: files, or references to files.
        check: function that raises an `UnreadableFileError` for an item that cannot be decoded.
        on_unreadable: "skip" warns about each unreadable item; "refuse" leaves the report to `refuse`.
        description: text of the progress bar.
        progress: whether to show a progress bar.

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
    """Raise one error that lists all errors, if there are any.

    Args:
        errors: errors of unreadable files, as returned by `check_all`.

    Raises:
        UnreadableFileError: if there are errors. It has the type of the first one.
    """
    if not errors:
        return
    one = len(errors) == 1
    missing = all(isinstance(error.__cause__, FileNotFoundError) for error in errors)
    way_out = "Check the path" if missing else f"Repair or remove {'it' if one else 'them'}"
    advice = f"{way_out}, or skip such files with --on_unreadable skip."
    if one:
        said = str(errors[0])
        raise type(errors[0])(f"{said if said.endswith('.') else said + '.'} {advice}") from errors[0]
    lines = "\n".join(f"- {error}" for error in errors)
    raise type(errors[0])(f"{len(errors)} files cannot be read. {advice}\n{lines}") from errors[0]


def without_unreadable(
    items: Files, run: Callable[[Files], Result], decode: Callable[[Files, int], object], on_unreadable: str, what: str
) -> Result:
    """Return the result of `run`, repeated without the items that turn out to be unreadable.

    This is needed because `check_all` does not decode videos completely, and files may disappear after the check.

    Args:
        items: a dataset with a `select` method.
        run: function that is called with the dataset.
        decode: function that reads an item, given the dataset and an index, in the same way as `run`.
        on_unreadable: "skip" leaves unreadable items out; "refuse" raises an error.
        what: plural noun for the items in messages.

    Raises:
        UnreadableFileError: if a file cannot be decoded, or none can.
        FileNotFoundError: if a file does not exist.
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
    """Log how many items were skipped, if there are any.

    Args:
        kept: the items that can be decoded.
        broken: the errors of the other items.
        what: plural noun for the items in messages.

    Raises:
        UnreadableFileError: if no item is left. It has the type of the first error.
    """
    if not broken:
        return
    if not kept:
        raise type(broken[0])(f"None of the {what} can be used.")
    logger.warning(f"Skipped {len(broken)} of the {len(kept) + len(broken)} {what}.")


def report_unread(columns: Sequence[str], read: Sequence[str], what: str) -> None:
    """Log which columns of a table or fields of objects are not read, if there are any.

    Args:
        columns: all columns.
        read: the columns that are read.
        what: name of the table or dataset in the message.
    """
    if unread := [column for column in columns if column not in read]:
        logger.warning(f"Ignored columns of {what}: {', '.join(unread)}")
