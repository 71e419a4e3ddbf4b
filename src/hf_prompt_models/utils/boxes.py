"""Boxes in the format of referring-expression datasets: two corners in whole pixels, both included in the box.

A box `(x1, y1, x2, y2)` is therefore `x2 - x1 + 1` pixels wide. Source: thunlp/CPT, Oscar/oscar/utils/iou.py.
"""

from collections.abc import Sequence

import torch


Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, including the last column and row."""


BOX_FORMATS = ("xywh", "xyxy")
"""The supported formats of boxes: `[x, y, width, height]` and `[x1, y1, x2, y2]`, in pixels."""


def corners(box: Sequence[float]) -> Box:
    """Return the corners `(x1, y1, x2, y2)` of a box `(x, y, width, height)`."""
    x, y, width, height = box
    return x, y, x + width - 1, y + height - 1


def to_xyxy(box: Sequence[float], box_format: str) -> list[float]:
    """Return a box as `[x1, y1, x2, y2]`, where the column x2 and the row y2 are excluded.

    Args:
        box: four numbers, in pixels.
        box_format: "xywh", `[x, y, width, height]`, or "xyxy".

    Raises:
        ValueError: if the format is unknown, or the box has no width or height or its corners in the wrong order.
    """
    check_box_format(box_format)
    x1, y1, x2, y2 = (float(number) for number in box)
    if box_format == "xywh":
        x2, y2 = x1 + x2, y1 + y2
    if not (x1 < x2 and y1 < y2):
        others = {"xywh": "[x, y, width, height]", "xyxy": "[x1, y1, x2, y2]"}
        other = next(name for name in BOX_FORMATS if name != box_format)
        raise ValueError(
            f"a box {others[box_format]} needs a positive width and height, got {list(box)}. If the boxes are "
            f"{others[other]}, pass box_format {other}."
        )
    return [x1, y1, x2, y2]


def check_box_format(box_format: str) -> None:
    """Check that a box format is supported.

    Raises:
        ValueError: if it is not one of `BOX_FORMATS`.
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(f"Expected one of {', '.join(BOX_FORMATS)} as box_format, got {box_format!r}.")


def check_inside_image(box: Sequence[float], size: tuple[int, int], box_format: str) -> None:
    """Refuse a box that exceeds its image by more than a pixel, or has relative coordinates.

    Args:
        box: `[x1, y1, x2, y2]`.
        size: width and height of the image.
        box_format: format in which boxes were given, for the error message.

    Raises:
        ValueError: if the box is refused; the message names the box and the size.
    """
    x1, y1, x2, y2 = box
    width, height = size
    shown = ", ".join(f"{number:g}" for number in box)
    if max(box) <= 1 and max(width, height) > 1 and (any(number % 1 for number in box) or box_format == "xyxy"):
        raise ValueError(
            f"the box [{shown}] (x1, y1, x2, y2) has relative coordinates, but the image has {width} x "
            f"{height} pixels. Pass boxes in pixels: multiply relative coordinates by the width and height."
        )
    if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
        other = "corners, [x1, y1, x2, y2]" if box_format == "xywh" else "[x, y, width, height]"
        name = next(name for name in BOX_FORMATS if name != box_format)
        raise ValueError(
            f"the box [{shown}] (x1, y1, x2, y2) extends beyond the image of {width} x {height} pixels. Clip "
            f"it to the image, or, if the boxes are {other}, pass box_format {name}."
        )


def box_iou(
    boxes: Sequence[Sequence[float]] | torch.Tensor, others: Sequence[Sequence[float]] | torch.Tensor
) -> torch.Tensor:
    """Return the pairwise intersection over union, (boxes, others), in double precision, from 0 to 1.

    Args:
        boxes: (boxes, 4) x1, y1, x2, y2, both corners included.
        others: (others, 4) boxes in the same format.

    Raises:
        ValueError: if an argument is not a list of boxes with four numbers each.
    """
    first, second = map(_rows, (boxes, others))
    lower = torch.maximum(first[:, None, :2], second[None, :, :2])
    upper = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (upper - lower + 1).clamp(min=0).prod(dim=-1)
    areas, other_areas = ((each[:, 2:] - each[:, :2] + 1).clamp(min=0).prod(dim=-1) for each in (first, second))
    union = areas[:, None] + other_areas[None] - shared
    return shared / union.clamp(min=torch.finfo(torch.float64).tiny)


def _rows(boxes: Sequence[Sequence[float]] | torch.Tensor) -> torch.Tensor:
    """Return boxes as a tensor (boxes, 4), from rows that are lists, arrays or tensors."""
    if any(len(box) != 4 for box in boxes):
        raise ValueError("Expected boxes as rows of four numbers: x1, y1, x2, y2.")
    numbers = boxes if isinstance(boxes, torch.Tensor) else [[float(corner) for corner in box] for box in boxes]
    return torch.as_tensor(numbers, dtype=torch.float64).reshape(-1, 4)
