"""Masks as files have them: COCO's run lengths, compressed or not, and polygons.

The run-length format is that of cocodataset/cocoapi, common/maskApi.c: lengths of runs of 0 and 1 in turn, column by
column. Compressed they are written in base 32, lowest digits first, in characters from "0" on, of which the sixth bit
says that more digits follow; from the fourth run on it is the difference to the run before the last that is written.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


MAX_PIXELS = 2**27
"""Of a mask; Pillow opens pictures of up to 89 million."""
MAX_DIGITS = 12
"""Of a run's length, of five bits each; more than any picture needs."""


def read_mask(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """A mask of a file as booleans (height, width).

    Args:
        mask: a dict `{"size": [height, width], "counts": …}` of run lengths; or a list of polygons, whose pixels
            together are the mask.
        size: the picture's width and height.

    Raises:
        ValueError: if it is neither, damaged, or of another size than the picture.
    """
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"Masks are read for pictures of up to {MAX_PIXELS} pixels, this one is {width} x {height}.")
    if isinstance(mask, Mapping):
        found = rle_size(mask)
        if found != (height, width):
            raise ValueError(
                f"The mask's run lengths are for a picture {found[0]} high and {found[1]} wide, this one is {height} "
                f"high and {width} wide. Take the masks of this picture, or scale them to it."
            )
        return decode_rle(mask)
    return fill_polygons(mask, size)


def rle_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    """The height and width that run lengths are for.

    Raises:
        ValueError: if they do not say, or more than `MAX_PIXELS`.
    """
    match rle.get("size"):
        case [int(height), int(width)] if height > 0 and width > 0 and height * width <= MAX_PIXELS:
            return height, width
    raise ValueError(f"Run lengths need a 'size' [height, width] of whole numbers; got {str(rle.get('size'))[:60]}.")


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Run lengths as booleans (height, width).

    Args:
        rle: `size`, [height, width], and `counts`: a list of lengths, or COCO's compressed string.

    Raises:
        ValueError: if they are damaged or do not fill the size.
    """
    height, width = rle_size(rle)
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        counts = _decompress(counts)
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        raise ValueError(
            "The 'counts' of run lengths are a list of whole numbers from 0, or COCO's compressed string."
        )
    if sum(counts) != height * width:
        raise ValueError(
            f"The run lengths cover {sum(counts)} pixels, their size is {height} x {width} = {height * width}: the "
            "mask is damaged or belongs to another picture."
        )
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return runs.reshape(width, height).T


def _decompress(text: str | bytes) -> list[int]:
    counts: list[int] = []
    value = digits = 0
    for byte in text.encode("ascii", errors="replace") if isinstance(text, str) else text:
        digit = byte - ord("0")
        if not 0 <= digit < 64 or digits == MAX_DIGITS:
            raise ValueError("The compressed run lengths are damaged: they hold a character that COCO does not write.")
        value |= (digit & 31) << (5 * digits)
        digits += 1
        if digit & 32:
            continue
        if digit & 16:  # the highest bit is the sign
            value -= 1 << (5 * digits)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = digits = 0
    if digits:
        raise ValueError("The compressed run lengths are damaged: they end within a number.")
    return counts


def fill_polygons(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """The pixels of polygons as booleans (height, width), outlines included.

    Args:
        polygons: each `[x1, y1, x2, y2, …]` or `[[x1, y1], [x2, y2], …]`, of three points or more, in pixels.
        size: the picture's width and height.

    Raises:
        ValueError: if they are not such a list.
    """
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for points in polygon_points(polygons):
        draw.polygon(points, fill=1)
    return np.asarray(image)


def polygon_points(polygons: Any) -> list[list[tuple[float, float]]]:
    """The points of each polygon.

    Raises:
        ValueError: as of `fill_polygons`.
    """
    if not isinstance(polygons, list) or not polygons:
        raise ValueError("A mask is run lengths, {'size': [height, width], 'counts': …}, or a list of polygons.")
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
            f"A polygon is [x1, y1, x2, y2, …] or [[x1, y1], …] of three points or more; got {str(polygon)[:60]}."
        )
    return list(zip(flat[::2], flat[1::2], strict=True))
