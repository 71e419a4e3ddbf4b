"""Scores of answers that ignore the input: baselines to compare a model with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hf_prompt_models.metrics.grounding import IOU_THRESHOLD
from hf_prompt_models.utils.boxes import box_iou


TOP = 5
"""The k of top-k accuracies. With at most this many classes, every answer counts as correct."""


def chance_of_classes(references: ArrayLike, num_classes: int) -> dict[str, float]:
    """Return the expected scores of a class that is sampled uniformly, from 0 to 1.

    Args:
        references: class indices; for multi-label data (examples, classes), 1 for each class that applies, else 0.
        num_classes: number of classes.

    Returns:
        `accuracy`, `mean_class_accuracy` and `top5_accuracy`. For multi-label data, `accuracy` and
        `mean_average_precision`: the mean share of examples that have a class, over the classes that occur.
    """
    labels = np.asarray(references)
    if labels.ndim == 2:
        shares = (labels > 0).mean(axis=0)
        precision = float(shares[shares > 0].mean())
        return {"accuracy": precision, "mean_average_precision": precision}
    chance = 1 / num_classes
    return {"accuracy": chance, "mean_class_accuracy": chance, "top5_accuracy": min(TOP / num_classes, 1.0)}


def most_frequent_class(references: Sequence[int]) -> float:
    """Return the accuracy of always answering the most frequent class of the test set, from 0 to 1."""
    counts = np.unique(np.asarray(references), return_counts=True)[1]
    return float(counts.max() / counts.sum())


def right_regions(
    proposals: Sequence[Sequence[Sequence[float]]], references: Sequence[Sequence[float]]
) -> list[tuple[int, int]]:
    """Return, for each phrase, the number of candidate regions and how many of them are correct.

    Args:
        proposals: (phrases, regions, 4). The number of regions may differ between phrases.
        references: (phrases, 4).
    """
    return [
        (len(boxes), int((box_iou(boxes, [right]) > IOU_THRESHOLD).sum()) if len(boxes) else 0)
        for boxes, right in zip(proposals, references, strict=True)
    ]


def chance_of_regions(proposals: Sequence[Sequence[Sequence[float]]], references: Sequence[Sequence[float]]) -> float:
    """Return the expected grounding accuracy of a candidate region that is sampled uniformly, from 0 to 1.

    Args:
        proposals: (phrases, regions, 4), as for `right_regions`.
        references: (phrases, 4).
    """
    return float(np.mean([right / count if count else 0.0 for count, right in right_regions(proposals, references)]))


def chance_of_retrieval(right: ArrayLike) -> dict[str, float]:
    """Return the expected scores of candidates in random order, as `metrics.retrieval.summarise_ranks` names them.

    Args:
        right: (queries, candidates) bool; each query has one or more.

    Returns:
        `recall_at_1`, `recall_at_5` and `recall_at_10` from 0 to 1; `mean_rank`, from 1, of the best correct
        candidate among the wrong ones.
    """
    right = np.asarray(right, dtype=bool)
    wrong, count = (~right).sum(axis=1), right.sum(axis=1)
    # The best correct candidate is ranked below any given wrong one with probability 1 / (count + 1).
    expected = {"mean_rank": float((1 + wrong / (count + 1)).mean())}
    for k in (1, 5, 10):
        # The probability that none of the first k candidates is correct, so that wrong ones fill all k places.
        missed = np.ones(len(right))
        for place in range(k):
            missed *= np.clip((wrong - place) / (wrong + count - place).clip(1), 0, None)
        expected[f"recall_at_{k}"] = float(1 - missed.mean())
    return expected
