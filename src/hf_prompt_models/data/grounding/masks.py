"""Decoding of masks: COCO's run-length encoding (RLE), compressed or not, and polygons.

The RLE format is that of cocodataset/cocoapi, common/maskApi.c: alternating lengths of runs of 0 and 1, column by
column. Compressed lengths are base-32 numbers, least significant digit first, in characters from "0" on. The sixth bit
of a character is set if more digits follow. From the fourth run on, the difference to the length two runs before is
stored.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


MAX_PIXELS = 2**27
"""Largest number of pixels of a mask. Pillow opens images of up to 89 million pixels."""
MAX_DIGITS = 12
"""Largest number of 5-bit digits of a run length, more than any image needs."""


def read_mask(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode a mask to a boolean array.

    Args:
        mask: an RLE dict `{"size": [height, width], "counts": …}`, or a list of polygons whose union is the mask.
        size: width and height of the image.

    Returns:
        A boolean array of shape (height, width).

    Raises:
        ValueError: if the mask has neither format, is damaged, or differs in size from the image.
    """
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(
            f"Expected an image of at most {MAX_PIXELS} pixels for a mask, got {width} x {height}. Scale the "
            "image down."
        )
    if isinstance(mask, Mapping):
        found = rle_size(mask)
        if found != (height, width):
            raise ValueError(
                f"The run lengths of the mask are for an image of height {found[0]} and width {found[1]}, but "
                f"the image has height {height} and width {width}. Pass the masks of this image, or scale "
                "them to its size."
            )
        return decode_rle(mask)
    return fill_polygons(mask, size)


def rle_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    """Return the height and width of a run-length encoded mask.

    Raises:
        ValueError: if the size is missing or invalid, or larger than `MAX_PIXELS`.
    """
    match rle.get("size"):
        case [int(height), int(width)] if height > 0 and width > 0 and height * width <= MAX_PIXELS:
            return height, width
    raise ValueError(
        f"Expected 'size': [height, width] with two integers for run lengths, got {str(rle.get('size'))[:60]}."
    )


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a run-length encoded mask to a boolean array.

    Args:
        rle: dict with `size`, [height, width], and `counts`, a list of run lengths or COCO's compressed string.

    Returns:
        A boolean array of shape (height, width).

    Raises:
        ValueError: if the run lengths are damaged or do not add up to the size.
    """
    height, width = rle_size(rle)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        counts = _decompress(counts)
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(
            "The 'counts' of run lengths are invalid. Pass a list of non-negative integers, or COCO's "
            "compressed string."
        )
    if sum(counts) != height * width:
        raise ValueError(
            f"The run lengths cover {sum(counts)} pixels, but their size is {height} x {width} = "
            f"{height * width}. The mask is damaged or belongs to another image."
        )
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return runs.reshape(width, height).T


def _decompress(text: str | bytes) -> list[int]:
    counts: list[int] = []
    value = digits = 0
    for byte in text.encode("ascii", errors="replace") if isinstance(text, str) else text:
        digit = byte - ord("0")
        if not 0 <= digit < 64 or digits == MAX_DIGITS:
            raise ValueError(
                "The compressed run lengths are damaged: they contain a character that COCO does not use."
            )
        value |= (digit & 31) << (5 * digits)
        digits += 1
        if digit & 32:
            continue
        if digit & 16:  # the highest bit is the sign
            value -= 1 << (5 * digits)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = digits = 0
    if digits:
        raise ValueError("The compressed run lengths are damaged: they end in the middle of a number.")
    return counts


def fill_polygons(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """Rasterise polygons, including their outlines, to a boolean array.

    Args:
        polygons: list of polygons, each `[x1, y1, x2, y2, …]` or `[[x1, y1], [x2, y2], …]` with three or more points
            in pixels.
        size: width and height of the image.

    Returns:
        A boolean array of shape (height, width).

    Raises:
        ValueError: if the polygons do not have this format.
    """
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for points in polygon_points(polygons):
        draw.polygon(points, fill=1)
    return np.asarray(image)


def polygon_points(polygons: Any) -> list[list[tuple[float, float]]]:
    """Return the points of each polygon.

    Args:
        polygons: list of polygons, as for `fill_polygons`.

    Raises:
        ValueError: as for `fill_polygons`.
    """
    if not isinstance(polygons, list) or not polygons:
        raise ValueError(
            "The mask has an unknown format. Pass run lengths, {'size': [height, width], 'counts': …}, or a list "
            "of polygons."
        )
    return [_points(polygon) for polygon in polygons]


def _points(polygon: Any) -> list[tuple[float, float]]:
    flat = polygon
    if isinstance(polygon, list) and all(isinstance(point, Sequence) and len(point) == 2 for point in polygon):
        flat = [coordinate for point in polygon for coordinate in point]
    if (
        not isinstance(flat, list)
        or len(flat) < 6
        or len(flat) % 2
        or any(type(number) not in (int, float) or not math.isfinite(number) for number in flat)
    ):
        raise ValueError(
            "Expected a polygon [x1, y1, x2, y2, …] or [[x1, y1], …] of at least three points, got "
            f"{str(polygon)[:60]}."
        )
    return list(zip(flat[::2], flat[1::2], strict=True))
