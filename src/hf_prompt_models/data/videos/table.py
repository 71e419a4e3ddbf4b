"""Lists of videos with texts, and the video files that they refer to."""

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
"""Delimiters of CSV files: the most frequent one in the header is used. Many spreadsheets export semicolons."""


def read_rows(path: str | os.PathLike) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of a list, each with its location for error messages.

    Args:
        path: a JSONL file with one object per line, a JSON file with a list of objects, or a CSV file with a header,
            separated by commas, semicolons or tabs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has none of these formats, or is empty.
    """
    path = Path(path)
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path} is empty. Write one row per video.")
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
                        f"{path}, row {number}: expected {len(reader.fieldnames or [])} columns. Put texts "
                        f"that contain {delimiter!r} in quotes."
                    )
                yield f"{path}, row {number}", row
        except csv.Error as error:
            raise ValueError(f"{path} cannot be read as CSV: {error}.") from error
    elif suffix == ".json":
        value = read_json(path, MAX_BYTES, KIND)
        if not isinstance(value, list):
            raise ValueError(f"{path} must contain a list of objects.")
        for place, row in enumerate(value):
            if not isinstance(row, dict):
                raise ValueError(f"{path}, entry {place}: expected an object, got {str(row)[:80]}.")
            yield f"{path}, entry {place}", row
    else:
        for number, row in read_json_lines(path, MAX_BYTES, KIND):
            yield f"{path}, line {number}", row


def columns_of(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return the columns of rows, in the order of their first occurrence."""
    return list(dict.fromkeys(column for _, row in rows for column in row))


def first_field(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> tuple[str, str]:
    """Return the name and the text of the first of several fields that a row has.

    Args:
        row: the row.
        names: names of the fields, in order of preference.
        where: location of the row, with which the error message starts.

    Raises:
        ValueError: if the row has none of the fields, or they are empty.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return name, str(value).strip()
    raise ValueError(
        f"{where}: expected a string in one of the fields {', '.join(map(repr, names))}, got the fields "
        f"{sorted(row)[:10]}."
    )


@dataclass(frozen=True)
class VideoFolder:
    """A folder of videos that lists refer to by relative path, or by file name without the suffix.

    Attributes:
        directory: the folder.
        stems: videos and folders of frames in it, by name without suffix.
    """

    directory: Path
    stems: dict[str, Path]

    @classmethod
    def open(cls, directory: str | os.PathLike) -> "VideoFolder":
        """Create the object from the path of a folder.

        Raises:
            ValueError: if there is no such folder.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise ValueError(f"There is no folder of videos {str(directory)!r}. Check the path.")
        entries = sorted(path for path in directory.iterdir() if not is_hidden(path.name))
        found = [path for path in entries if path.is_dir() or is_video_file(path)]
        return cls(directory, {path.stem if path.is_file() else path.name: path for path in found})

    def find(self, name: str) -> Path:
        """Return the file or folder of frames that a name in a list refers to, even if it does not exist."""
        path = self.directory / name
        return path if path.suffix and path.exists() else self.stems.get(name, path)


def is_image(path: Path) -> bool:
    """Return whether a file is a still image."""
    return is_frame(path)
