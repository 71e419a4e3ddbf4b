"""Lists of videos with texts, and the files that they name."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.data.listing import is_hidden
from hf_prompt_models.data.text.records import MAX_BYTES
from hf_prompt_models.data.videos.frame_folders import is_frame
from hf_prompt_models.data.videos.reader import is_video_file
from hf_prompt_models.utils.files import read_json, read_json_lines, read_text


KIND = "lists of videos with texts"
DELIMITERS = ",;\t"
"""Of CSV: commas, unless the names of columns have more of another. Many spreadsheets write semicolons."""


def read_rows(path: str | os.PathLike) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a list, each with where it stands, for errors.

    Args:
        path: a JSONL file with an object a line; a JSON file, a list of objects; or a CSV file with names of columns,
            separated by commas, semicolons or tabs.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is none of these, or empty.
    """
    path = Path(path)
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path} is empty.")
    return rows


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        try:
            text = read_text(path, MAX_BYTES, KIND)
            header = text.partition("\n")[0]
            delimiter = max(DELIMITERS, key=header.count)
            reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}, row {number}: expected {len(reader.fieldnames or [])} columns; put texts with "
                        f"{delimiter!r} in quotes."
                    )
                yield f"{path}, row {number}", row
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read as CSV: {error}.") from error
    elif suffix == ".json":
        value = read_json(path, MAX_BYTES, KIND)
        if not isinstance(value, list):
            raise ValueError(f"{path} must hold a list of objects.")
        for place, row in enumerate(value):
            if not isinstance(row, dict):
                raise ValueError(f"{path}, entry {place}: expected an object, got {str(row)[:80]}.")
            yield f"{path}, entry {place}", row
    else:
        for number, row in read_json_lines(path, MAX_BYTES, KIND):
            yield f"{path}, line {number}", row


def columns_of(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return the columns that rows have, in the order in which they come."""
    return list(dict.fromkeys(column for _, row in rows for column in row))


def first_field(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> tuple[str, str]:
    """The first of some fields that a row has, by its name, and its text.

    Raises:
        ValueError: beginning with `where`, if there is none of them, or it is empty.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return name, str(value).strip()
    raise ValueError(f"{where}: it needs one of {', '.join(map(repr, names))}, a text; it has {sorted(row)[:10]}.")


@dataclass(frozen=True)
class VideoFolder:
    """A folder of videos that lists name by their paths in it, or by their files' names without the suffix.

    Attributes:
        directory: the folder.
        stems: its videos and folders of frames by their names without suffix.
    """

    directory: Path
    stems: dict[str, Path]

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "VideoFolder":
        """
        Raises:
            ValueError: if there is no such folder.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise ValueError(f"There is no folder of videos {str(directory)!r}.")
        entries = sorted(path for path in directory.iterdir() if not is_hidden(path.name))
        found = [path for path in entries if path.is_dir() or is_video_file(path)]
        return cls(directory, {path.stem if path.is_file() else path.name: path for path in found})

    def find(self, name: str) -> Path:
        """The file, or folder of frames, that a list means. It need not exist: reading it says so."""
        path = self.directory / name
        return path if path.suffix and path.exists() else self.stems.get(name, path)


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a still picture."""
    return is_frame(path)
