"""Metrics of visual grounding: a phrase counts as correct if the chosen box overlaps the correct box enough."""

from collections.abc import Sequence

import numpy as np

from hf_prompt_models.utils.boxes import box_iou


IOU_THRESHOLD = 0.5
"""The intersection over union must exceed this value (thunlp/CPT, Oscar/oscar/zeroshot/refcoco_cpt.py)."""


def is_right_region(boxes: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> np.ndarray:
    """Return whether each box overlaps its reference with an intersection over union above 0.5, (examples,).

    Args:
        boxes: (examples, 4) x1, y1, x2, y2 in whole pixels, both corners included.
        references: (examples, 4) the correct boxes, in the same format.

    Raises:
        ValueError: if the numbers of boxes and references differ, or there are none.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import is_right_region
        >>> is_right_region([[0, 0, 9, 9], [0, 0, 9, 9]], [[0, 0, 9, 11], [5, 5, 14, 14]]).tolist()
        [True, False]

        ```
    """
    if len(boxes) != len(references) or not len(boxes):
        raise ValueError(
            f"Expected as many boxes as references, and at least one, got {len(boxes)} boxes and "
            f"{len(references)} references."
        )
    pairs = zip(boxes, references, strict=True)
    return np.array([box_iou([box], [reference]).item() > IOU_THRESHOLD for box, reference in pairs])


def grounding_accuracy(boxes: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> float:
    """Return the share of phrases whose chosen box has an IoU above 0.5 with the correct box, from 0 to 1.

    Args:
        boxes: (examples, 4) the chosen boxes, as for `is_right_region`.
        references: (examples, 4) the correct boxes, in the same format.
    """
    return float(is_right_region(boxes, references).mean())


def proposal_oracle(proposals: Sequence[Sequence[Sequence[float]]], references: Sequence[Sequence[float]]) -> float:
    """Return the share of phrases for which at least one candidate region is correct, from 0 to 1.

    It is the upper bound of `grounding_accuracy` for any choice among these candidates.

    Args:
        proposals: (examples, regions, 4). The number of regions may differ between examples and may be 0.
        references: (examples, 4).
    """
    if len(proposals) != len(references) or not len(proposals):
        raise ValueError(
            f"Expected one list of regions per reference, got {len(proposals)} lists and {len(references)} references."
        )
    pairs = zip(proposals, references, strict=True)
    return float(np.mean([bool((box_iou(each, [right]) > IOU_THRESHOLD).any()) for each, right in pairs]))
