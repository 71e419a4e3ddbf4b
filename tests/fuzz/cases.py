"""Fuzzing cases of a reader: valid files, and the call that reads them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """A reader to fuzz.

    Attributes:
        write: writes valid files to a folder. The reader must not open what it writes to `../outside`.
        read: reads the files, including their images; raises ValueError or OSError for files that it refuses.
        attacked: glob patterns of the files that are mutated, one at a time.
        inherited: whether errors that are raised before any code of this package is reached are allowed, such as
            those of the Auto classes of transformers, which select the class.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    attacked: tuple[str, ...] = ("**/*",)
    inherited: bool = False


@contextmanager
def refusing(*said: str) -> Iterator[None]:
    """Ignore errors with one of these messages, so that reading continues."""
    try:
        yield
    except ValueError as error:
        if not any(each in str(error) for each in said):
            raise


def write_json(file: Path, value: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
    return file


def write_text(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file
