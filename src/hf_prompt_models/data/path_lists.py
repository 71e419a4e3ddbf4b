"""Lists of input files for inference: text files with one path per line, or a column of a table."""

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
    """Yield paths, with each list replaced by the paths in it.

    Args:
        paths: files and folders. Files that end in `.txt` or `.lst` are lists with one path per line; files that end
            in `.csv` or `.jsonl` are lists with a column such as `path`, `file_name`, `image` or `video`. Paths in a
            list are relative to its folder. A list of which no file exists is yielded unchanged.

    Raises:
        ValueError: if a table has no such column or several, or a path leads out of the folder of the list.
    """
    for path in paths:
        suffix = Path(path).suffix.lower()
        if suffix not in LINE_SUFFIXES | TABLE_SUFFIXES or not os.path.isfile(path):
            yield path
            continue
        found = _lines(Path(path)) if suffix in LINE_SUFFIXES else _column(Path(path))
        if not any(os.path.exists(Path(path).parent / name) for _, name in found):
            yield path  # it is some other file; reading it raises an error that names it
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
            f"{path} needs exactly one column of files, such as 'path', but it has "
            f"{', '.join(named or columns)}. Keep only one of them."
        )
    report_unread(columns, named, str(path))
    return [(where, str(row.get(named[0]) or "")) for where, row in rows]
