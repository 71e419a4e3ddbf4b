"""Lists of files as what to predict: a path a line, or a column of a table."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hf_prompt_models.data.labelled_rows import FILE_COLUMNS
from hf_prompt_models.data.readable import report_unread
from hf_prompt_models.data.text.records import MAX_BYTES
from hf_prompt_models.data.videos.table import columns_of, read_rows
from hf_prompt_models.utils.files import check_listed, read_text


LINE_SUFFIXES = frozenset({".lst", ".txt"})
TABLE_SUFFIXES = frozenset({".csv", ".jsonl"})
COLUMNS = (*FILE_COLUMNS, "video")


def expand_lists(paths: Iterable[str]) -> Iterator[str]:
    """Yield paths, and in place of each list the paths in it, which are relative to the list's folder.

    Args:
        paths: files and folders; those that end in `.txt` or `.lst` have a path a line, those in `.csv` or `.jsonl` a
            column `path`, `file_name`, `image` or `video`. One that names no file that exists stays as it is.

    Raises:
        ValueError: if a table has no such column or several, or a path leads out of the list's folder.
    """
    for path in paths:
        suffix = Path(path).suffix.lower()
        if suffix not in LINE_SUFFIXES | TABLE_SUFFIXES or not os.path.isfile(path):
            yield path
            continue
        found = _lines(Path(path)) if suffix in LINE_SUFFIXES else _column(Path(path))
        if not any(os.path.exists(Path(path).parent / name) for _, name in found):
            yield path  # some other file, which reading refuses by name
            continue
        for where, name in found:
            check_listed(name, where)
            yield str(Path(path).parent / name)


def _lines(path: Path) -> list[tuple[str, str]]:
    lines = enumerate(read_text(path, MAX_BYTES, "lists of files").split("\n"), start=1)
    return [(f"{path}, line {number}", line.strip()) for number, line in lines if line.strip()]


def _column(path: Path) -> list[tuple[str, str]]:
    rows = read_rows(path)
    columns = columns_of(rows)
    named = [column for column in COLUMNS if column in columns]
    if len(named) != 1:
        raise ValueError(
            f"{path} needs one column of files, such as 'path'; it has {', '.join(named or columns)}. Keep one."
        )
    report_unread(columns, named, str(path))
    return [(where, str(row.get(named[0]) or "")) for where, row in rows]
