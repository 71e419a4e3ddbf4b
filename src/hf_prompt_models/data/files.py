"""Writing files so that a crash leaves the earlier one whole."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON beside and move it into place. Folders are made if needed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text beside and move it into place. Folders are made if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
