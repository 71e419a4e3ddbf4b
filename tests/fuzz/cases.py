"""Fuzzing cases of a reader: valid files, and the call that reads them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """A reader under attack.

    Attributes:
        write: writes good files to a folder. What it writes into `../outside` is forbidden ground.
        read: reads them, pictures and all; raises ValueError or OSError for what it refuses.
        attacked: names of the files that are mutated, one at a time, as `Path.glob` finds them.
        inherited: whether errors that were raised before any of this package's code was reached are another's: those
            of transformers' Auto classes, which find out whom to ask.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    attacked: tuple[str, ...] = ("**/*",)
    inherited: bool = False


@contextmanager
def refusing(*said: str) -> Iterator[None]:
    """Let an error pass that says one of these, so that more is read after it."""
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
