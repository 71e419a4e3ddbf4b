"""Writing files so that a crash leaves the earlier one whole, and the error of those that cannot be read."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class UnreadableFileError(ValueError):
    """An image or a video that cannot be decoded; the message names it."""


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file beside `path` to write to, moved into its place at the end, or removed after an error.

    Folders are made if needed.

    Raises:
        IsADirectoryError: before any work, if `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {str(path)!r}: it is a folder, name a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: str | os.PathLike, max_bytes: int) -> Any:
    """Read a JSON file that somebody else made.

    Raises:
        OSError: if there is no such file.
        ValueError: naming it, if it is longer than `max_bytes` or not JSON in UTF-8.
    """
    path = Path(path)
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size} bytes; such files are read up to {max_bytes}.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON beside and move it into place. Folders are made if needed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text beside and move it into place. Folders are made if needed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
