"""Boxes on a picture, written as lines of a text field and drawn with their numbers."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from hf_prompt_models.prompts.colors import PixelBox, clip_boxes


MAX_BOXES = 64
"""A picture is painted and read once for each."""
SMALLEST_VIEW, LARGEST_VIEW = 480, 960
"""The longer side of a picture on the page, in pixels: clicks are as fine as its pixels."""
OUTLINE, BEST, OTHER, PAPER = (20, 90, 220), (220, 20, 50), (120, 120, 120), (255, 255, 255)


def read_boxes(text: str, size: tuple[int, int]) -> list[PixelBox]:
    """The boxes of a text field, one a line: `x0 y0 x1 y1` in pixels.

    Args:
        text: numbers may be parted by spaces, commas or semicolons; empty lines are passed over.
        size: the picture's width and height.

    Raises:
        ValueError: naming the line that is no box, or of which nothing lies in the picture; for too many boxes.
    """
    boxes: list[PixelBox] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            corners = [float(part) for part in line.replace(",", " ").replace(";", " ").split()]
        except ValueError:
            corners = []
        if len(corners) != 4 or not all(map(math.isfinite, corners)):
            raise ValueError(
                f"Line {number} of the boxes is not four numbers x0 y0 x1 y1: {line.strip()[:60]!r}. Write it like "
                "10 20 90 120."
            )
        x0, y0, x1, y1 = corners
        try:
            boxes += clip_boxes([[min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]], size)
        except ValueError:
            width, height = size
            raise ValueError(
                f"Line {number} of the boxes, {line.strip()[:60]}, holds nothing of the picture, which is {width} "
                f"pixels wide and {height} high. Change it, or take it out."
            ) from None
    if len(boxes) > MAX_BOXES:
        raise ValueError(f"There are {len(boxes)} boxes; up to {MAX_BOXES} are compared. Take some out.")
    return boxes


def write_boxes(boxes: Sequence[Sequence[float]]) -> str:
    """Lines that `read_boxes` reads, in whole pixels."""
    return "\n".join(" ".join(str(round(corner)) for corner in box) for box in boxes)


def without_last_line(text: str) -> str:
    """What is left when the last box is taken away."""
    return "\n".join([line for line in text.splitlines() if line.strip()][:-1])


def view_factor(size: tuple[int, int]) -> float:
    """How much larger a picture is on the page than it is: small ones are enlarged, large ones shrunk."""
    longer = max(size)
    if longer < SMALLEST_VIEW:
        return float(math.ceil(SMALLEST_VIEW / longer))
    return min(1.0, LARGEST_VIEW / longer)


def draw_boxes(
    picture: Image.Image,
    boxes: Sequence[Sequence[float]],
    best: int | None = None,
    corner: tuple[float, float] | None = None,
) -> Image.Image:
    """The picture as the page shows it, each box with its number from 1.

    Args:
        picture: in its own size.
        boxes: in its pixels, the right column and the bottom row outside.
        best: the box that is the answer, which is drawn last and thicker; the others are grey then.
        corner: the first corner of a box that is being drawn, as a cross.
    """
    factor = view_factor(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    view = picture.convert("RGB").resize(size, how)
    pen, font = ImageDraw.Draw(view), ImageFont.load_default(size=18)
    for number in sorted(range(len(boxes)), key=lambda number: number == best):
        color = OUTLINE if best is None else BEST if number == best else OTHER
        left, top, right, bottom = (factor * edge for edge in boxes[number])
        frame = (left, top, max(right - 1, left), max(bottom - 1, top))
        pen.rectangle(frame, outline=color, width=6 if number == best else 3)
        _tag(pen, (left, top), size, str(number + 1), color, font)
    if corner is not None:
        x, y = (factor * each for each in corner)
        for width, color in ((7, PAPER), (3, OUTLINE)):
            pen.line((x - 12, y, x + 12, y), fill=color, width=width)
            pen.line((x, y - 12, x, y + 12), fill=color, width=width)
    return view


def _tag(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    size: tuple[int, int],
    text: str,
    color: tuple[int, int, int],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    """A number on its box's colour, in the box's upper left corner, moved into the picture where that lies outside."""
    width, height = font.getbbox(text)[2] + 10, 26
    x, y = (max(0.0, min(at, whole - part)) for at, whole, part in zip(place, size, (width, height), strict=True))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 5, y + 2), text, fill=PAPER, font=font)
