"""Which files can be decoded, found out before any work depends on it."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tqdm.auto import tqdm

from hf_prompt_models.data.files import UnreadableFileError


logger = logging.getLogger(__name__)

Item = TypeVar("Item")


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
    advice = f"Repair or remove {'it' if one else 'them'}, or leave such files out with --on_unreadable skip."
    if one:
        raise type(errors[0])(f"{errors[0]} {advice}") from errors[0]
    lines = "\n".join(f"- {error}" for error in errors)
    raise type(errors[0])(f"{len(errors)} files cannot be read. {advice}\n{lines}") from errors[0]


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
        raise type(broken[0])(f"None of the {what} can be read.")
    logger.warning(f"Skipped {len(broken)} of the {len(kept) + len(broken)} {what}.")
