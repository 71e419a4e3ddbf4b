"""Metrics of visual grounding: a phrase is understood if the chosen region's box overlaps the right one enough."""

from collections.abc import Sequence

import numpy as np

from hf_prompt_models.utils.boxes import box_iou


IOU_THRESHOLD = 0.5
"""An intersection over union of exactly so much is not enough (thunlp/CPT, Oscar/oscar/zeroshot/refcoco_cpt.py)."""


def is_right_region(boxes: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> np.ndarray:
    """(examples,) whether each box overlaps its reference by more than 0.5, whole pixels counted.

    Args:
        boxes: (examples, 4) x1, y1, x2, y2 in pixels, both corners included.
        references: (examples, 4) likewise.

    Raises:
        ValueError: if there are not as many, or none.
    """
    if len(boxes) != len(references) or not len(boxes):
        raise ValueError(f"Pass as many boxes as references, and some: {len(boxes)}, {len(references)}.")
    pairs = zip(boxes, references, strict=True)
    return np.array([box_iou([box], [reference]).item() > IOU_THRESHOLD for box, reference in pairs])


def grounding_accuracy(boxes: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> float:
    """Share of phrases whose chosen box overlaps the right one by more than 0.5, from 0 to 1.

    Args:
        boxes, references: as of `is_right_region`.
    """
    return float(is_right_region(boxes, references).mean())


def proposal_oracle(proposals: Sequence[Sequence[Sequence[float]]], references: Sequence[Sequence[float]]) -> float:
    """Share of phrases of which some candidate region is right, from 0 to 1: what no choice among them can exceed.

    Args:
        proposals: (examples, regions, 4), as many regions as there are, or none.
        references: (examples, 4).
    """
    if len(proposals) != len(references) or not len(proposals):
        raise ValueError(f"Pass as many lists of regions as references: {len(proposals)}, {len(references)}.")
    pairs = zip(proposals, references, strict=True)
    return float(np.mean([bool((box_iou(each, [right]) > IOU_THRESHOLD).any()) for each, right in pairs]))
