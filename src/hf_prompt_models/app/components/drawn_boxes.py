"""Bounding boxes of an image: parsing them from a text field and drawing them with their numbers."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from hf_prompt_models.prompts.colors import PixelBox, clip_boxes


MAX_BOXES = 64
"""Maximum number of boxes, because the model may read one painted copy of the image per box."""
SMALLEST_VIEW, LARGEST_VIEW = 480, 960
"""Limits of the longer side of the displayed image, in pixels. Clicks are accurate to one displayed pixel."""
OUTLINE, BEST, OTHER, PAPER = (20, 90, 220), (220, 20, 50), (120, 120, 120), (255, 255, 255)


def read_boxes(text: str, size: tuple[int, int]) -> list[PixelBox]:
    """Parse boxes from a text with one box `x0 y0 x1 y1` per line, in pixels.

    Args:
        text: numbers separated by spaces, commas or semicolons; empty lines are ignored.
        size: width and height of the image.

    Returns:
        The boxes, clipped to the image.

    Raises:
        ValueError: if a line is not a box, a box is outside the image, or there are too many boxes.
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
                f"Line {number} of the boxes does not contain four numbers x0 y0 x1 y1: "
                f"{line.strip()[:60]!r}. Write it like 10 20 90 120."
            )
        x0, y0, x1, y1 = corners
        try:
            boxes += clip_boxes([[min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]], size)
        except ValueError:
            width, height = size
            raise ValueError(
                f"Line {number} of the boxes, {line.strip()[:60]}, does not overlap the image of {width} x "
                f"{height} pixels. Change or remove it."
            ) from None
    if len(boxes) > MAX_BOXES:
        raise ValueError(f"There are {len(boxes)} boxes, but at most {MAX_BOXES} can be compared. Remove some.")
    return boxes


def write_boxes(boxes: Sequence[Sequence[float]]) -> str:
    """Format boxes as text for `read_boxes`, rounded to integer pixels."""
    return "\n".join(" ".join(str(round(corner)) for corner in box) for box in boxes)


def without_last_line(text: str) -> str:
    """Remove the last box from the text."""
    return "\n".join([line for line in text.splitlines() if line.strip()][:-1])


def view_factor(size: tuple[int, int]) -> float:
    """Return the scale of the displayed image: small images are enlarged, large ones are downscaled."""
    longer = max(size)
    if longer < SMALLEST_VIEW:
        return float(math.ceil(SMALLEST_VIEW / longer))
    return min(1.0, LARGEST_VIEW / longer)


def draw_boxes(
    image: Image.Image,
    boxes: Sequence[Sequence[float]],
    best: int | None = None,
    corner: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw boxes with their numbers, counted from 1, on an image.

    Args:
        image: the image at its original size.
        boxes: boxes in pixels of the image; the right column and the bottom row are excluded.
        best: index of the box that is the answer. It is drawn last and thicker, and the other boxes are grey.
        corner: first corner of a box that is being drawn, shown as a cross.

    Returns:
        The image scaled by `view_factor`, with the boxes.
    """
    factor = view_factor(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
    view = image.convert("RGB").resize(size, how)
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
    """Draw the number of a box at its upper left corner, moved so that it is inside the image."""
    width, height = font.getbbox(text)[2] + 10, 26
    x, y = (max(0.0, min(at, whole - part)) for at, whole, part in zip(place, size, (width, height), strict=True))
    pen.rectangle((x, y, x + width, y + height), fill=color)
    pen.text((x + 5, y + 2), text, fill=PAPER, font=font)
