"""Class names in a text file, one a line."""

import os
import re
from pathlib import Path


MAX_BYTES = 16 * 2**20
WORDNET_LINE = re.compile(r"n\d{8}\s+(\S.*)")


def read_class_names(path: str | os.PathLike) -> list[str]:
    """The names in the order of the lines. Names may repeat.

    Where every line begins with a WordNet id, as in CoOp's ImageNet list (`n01440764 tench`), the ids are left out.

    Raises:
        OSError: if there is no such file.
        ValueError: if it holds no names, an empty line between names, or is not a text of names at all.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is too large for a list of class names ({path.stat().st_size} bytes).")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a UTF-8 text with a class name on each line: {error}.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise ValueError(f"Line {lines.index('') + 1} of {path} is empty: write one class name a line.")
    with_ids = [WORDNET_LINE.fullmatch(line) for line in lines]
    return [match[1] for match in with_ids if match] if all(with_ids) else lines
