"""Boxes as referring-expression data sets have them: corners in whole pixels that both belong to the box.

So a box `(x1, y1, x2, y2)` is `x2 - x1 + 1` pixels wide. Source: thunlp/CPT, Oscar/oscar/utils/iou.py.
"""

from collections.abc import Sequence

import torch


Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, the last column and row included."""


def corners(box: Sequence[float]) -> Box:
    """`(x1, y1, x2, y2)` of a box `(x, y, width, height)`."""
    x, y, width, height = box
    return x, y, x + width - 1, y + height - 1


def box_iou(
    boxes: Sequence[Sequence[float]] | torch.Tensor, others: Sequence[Sequence[float]] | torch.Tensor
) -> torch.Tensor:
    """(boxes, others) intersection over union in double precision, from 0 to 1.

    Args:
        boxes: (boxes, 4) corners, both included.
        others: (others, 4) likewise.

    Raises:
        ValueError: if an argument is not a list of four corners each.
    """
    first, second = map(_rows, (boxes, others))
    lower = torch.maximum(first[:, None, :2], second[None, :, :2])
    upper = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (upper - lower + 1).clamp(min=0).prod(dim=-1)
    areas, other_areas = ((each[:, 2:] - each[:, :2] + 1).clamp(min=0).prod(dim=-1) for each in (first, second))
    union = areas[:, None] + other_areas[None] - shared
    return shared / union.clamp(min=torch.finfo(torch.float64).tiny)


def _rows(boxes: Sequence[Sequence[float]] | torch.Tensor) -> torch.Tensor:
    """(boxes, 4), whether the rows are lists, arrays or tensors."""
    if any(len(box) != 4 for box in boxes):
        raise ValueError("Boxes are rows of four numbers: x1, y1, x2, y2.")
    numbers = boxes if isinstance(boxes, torch.Tensor) else [[float(corner) for corner in box] for box in boxes]
    return torch.as_tensor(numbers, dtype=torch.float64).reshape(-1, 4)
