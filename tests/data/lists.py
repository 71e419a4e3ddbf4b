"""Small images, and lists of them as files, for tests."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image


def write_image(path: Path, red: int = 0) -> Path:
    """Save an image of 4 by 3 pixels and create its folder if needed; a JPEG may differ slightly from `red`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (red, 0, 0)).save(path)
    return path


def write_json_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write one JSON value per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file."""
    path.write_text(json.dumps(value))
    return path


def red(image: Image.Image) -> int:
    """Return the red value of the first pixel."""
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return int(pixel[0])
