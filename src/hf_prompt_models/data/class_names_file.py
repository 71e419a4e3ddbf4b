"""Class names in a file: one name per line, rows of the form `folder,name`, or JSON."""

import csv
import json
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.utils.files import read_text


MAX_BYTES = 16 * 2**20
WORDNET_LINE = re.compile(r"(n\d{8})\s+(\S.*)")
DELIMITERS = ",\t;"
HEADERS = frozenset({("folder", "name"), ("class", "name"), ("label", "name")})
KIND = "lists of class names"


@dataclass(frozen=True)
class ClassNames:
    """Class names read from a file.

    Attributes:
        source: the file.
        names: class names in the order of the file. Names may repeat.
        folders: class folder of each name, or `None` if the file holds only names.
    """

    source: str
    names: list[str]
    folders: list[str] | None = None

    def of_classes(self, classes: Sequence[str], where: str, complete: bool = True) -> list[str]:
        """Return the class names of a dataset, in the order of its labels.

        Args:
            classes: class folders of the dataset, in the order of its labels.
            where: name of the dataset in error messages.
            complete: whether to raise an error for folders in the file that the dataset does not have.

        Raises:
            ValueError: if folders have no name or names have no folder (the message lists them), if the number of
                names differs from the number of classes, or if names without folders are clearly not in the order of
                the classes.
        """
        if self.folders is None:
            return self._in_order(classes, where)
        name_of = dict(zip(map(comparable, self.folders), self.names, strict=True))
        own = [comparable(each) for each in classes]
        problems = []
        if missing := [each for each, key in zip(classes, own, strict=True) if key not in name_of]:
            problems.append(f"has no name for {len(missing)} class folder(s) of {where} ({_some(missing)})")
        surplus = [each for each in self.folders if comparable(each) not in own]
        if surplus and complete:
            problems.append(f"names {len(surplus)} folder(s) that {where} does not have ({_some(surplus)})")
        if problems:
            raise ValueError(
                f"{self.source} {' and '.join(problems)}. Write one row for each of these class folders: "
                f"{_some(classes)}."
            )
        return [name_of[key] for key in own]

    def _in_order(self, classes: Sequence[str], where: str) -> list[str]:
        place = {comparable(each): index for index, each in enumerate(classes)}
        for line, name in enumerate(self.names, start=1):
            if comparable(re.split(f"[{DELIMITERS}]", name)[0]) in place and comparable(name) not in place:
                raise ValueError(
                    f"Line {line} of {self.source}, {name!r}, starts with a class folder, but other lines do not have "
                    "the form folder,name. Write all lines in this form and put names that contain commas in quotes."
                )
        if len(self.names) != len(classes):
            raise ValueError(
                f"{self.source} has {len(self.names)} names, but {where} has {len(classes)} classes: "
                f"{_some(classes)}. Write one line per class in this order, or rows of the form folder,name."
            )
        for index, name in enumerate(self.names):
            if place.get(comparable(name), index) != index:
                raise ValueError(
                    f"Line {index + 1} of {self.source} gives the class folder {classes[index]!r} the name "
                    f"{name!r}, which is another folder of {where}. Put the lines in the order of the sorted "
                    "folders, or write rows of the form folder,name."
                )
        return list(self.names)


def comparable(name: str) -> str:
    """Return the name of a class or a class folder in a normalised form, for comparison."""
    return unicodedata.normalize("NFC", " ".join(name.replace("_", " ").split()))


def read_class_names(path: str | os.PathLike) -> list[str]:
    """Return the class names in a file, in its order, for `from_backbone` and `set_classes`.

    Args:
        path: a file in any format that `read_class_names_file` supports. Names may repeat.

    Raises:
        OSError: if there is no such file.
        ValueError: as for `read_class_names_file`.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from hf_prompt_models import read_class_names
        >>> _ = Path("names.json").write_text('["tench", "goldfish"]')
        >>> read_class_names("names.json")
        ['tench', 'goldfish']

        ```
    """
    return read_class_names_file(path).names


def read_class_names_file(path: str | os.PathLike) -> ClassNames:
    """Read class names and, if the file has them, their class folders.

    Args:
        path: a UTF-8 file in one of these formats:

            - one class name per line;
            - CSV rows `folder,name`, with or without the header, with quotes around names that contain commas. The
              delimiter may also be a tab or a semicolon;
            - lines such as `n01440764 tench`, where every line begins with a WordNet ID;
            - a JSON object `{folder: name}` or a JSON list of names.

    Raises:
        OSError: if there is no such file.
        ValueError: if the file has none of these formats, or it holds no names, an empty name, or a folder twice. The
            message names the line.
    """
    text = read_text(path, MAX_BYTES, KIND)
    if Path(path).suffix.lower() == ".json":
        return _from_json(str(path), text)
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise ValueError(f"Line {lines.index('') + 1} of {path} is empty. Write one class name per line.")
    with_ids = [match for match in map(WORDNET_LINE.fullmatch, lines) if match]
    have_ids = len(with_ids) == len(lines)
    rows = [(match[1], match[2]) for match in with_ids] if have_ids else _table(str(path), lines)
    places = [f"Line {number} of {path}" for number in range(1, len(rows) + 1)]
    if len(rows[0]) == 1:
        return ClassNames(str(path), _checked([row[0] for row in rows], places))
    if tuple(field.lower() for field in rows[0]) in HEADERS and len(rows) > 1:
        del rows[0], places[0]
    return _with_folders(str(path), [(row[0], row[1]) for row in rows], places)


def _table(path: str, lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Split lines into rows of two fields if all lines have two, or into rows of one name."""
    for delimiter in DELIMITERS:
        rows = [_fields(path, number, line, delimiter) for number, line in enumerate(lines, start=1)]
        if all(len(row) == 2 for row in rows):
            return rows
    rows = [_fields(path, number, line, ",") for number, line in enumerate(lines, start=1)]
    if path.lower().endswith(".csv") and any(len(row) > 1 for row in rows):
        number, row = next((number, row) for number, row in enumerate(rows, start=1) if len(row) != 2)
        raise ValueError(
            f"Line {number} of {path} has {len(row)} field(s). Write the two fields folder and name in each "
            "row of a CSV file of class names, and put names that contain commas in quotes."
        )
    # A quoted name is one field. If only some lines contain the delimiter, each line is a complete name.
    return [row if len(row) == 1 else (line,) for row, line in zip(rows, lines, strict=True)]


def _fields(path: str, number: int, line: str, delimiter: str) -> tuple[str, ...]:
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"Line {number} of {path} cannot be read as CSV: {error}.") from error
    return tuple(field.strip() for field in row)


def _from_json(path: str, text: str) -> ClassNames:
    try:
        value: Any = json.loads(text, object_pairs_hook=tuple)  # keep repeated folders, so that they are reported
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        places = [f"Name {number} of {path}" for number in range(1, len(value) + 1)]
        return ClassNames(path, _checked(value, places))
    if isinstance(value, tuple) and value and all(isinstance(name, str) for _, name in value):
        return _with_folders(path, value, [f"{path}, {folder!r}" for folder, _ in value])
    raise ValueError(
        f'{path} is not a file of class names. Write a JSON object {{"folder": "name", …}} or a JSON list of names.'
    )


def _with_folders(path: str, pairs: Sequence[tuple[str, str]], places: Sequence[str]) -> ClassNames:
    folders, names = [folder for folder, _ in pairs], [name for _, name in pairs]
    seen: set[str] = set()
    for folder, place in zip(folders, places, strict=True):
        if not folder.strip():
            raise ValueError(f"{place} has no folder in front of the name. Write rows of the form folder,name.")
        if comparable(folder) in seen:
            raise ValueError(f"{place} repeats the folder {folder!r}. Give each folder one name.")
        seen.add(comparable(folder))
    return ClassNames(path, _checked(names, places), folders)


def _checked(names: Sequence[str], places: Sequence[str]) -> list[str]:
    for name, place in zip(names, places, strict=True):
        if not comparable(name):
            raise ValueError(f"{place} has no name. Write one name for each class.")
    return [unicodedata.normalize("NFC", name) for name in names]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
