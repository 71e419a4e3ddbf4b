"""Metrics of predicate classification: how many relations of an image are among the k most likely predictions.

Each ordered pair of objects gets one predicate. Source: thunlp/CPT, Oscar/eval/vg/eval_vg.py.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


Triple = tuple[int, int, int]
"""Indices of the subject, the object and the predicate."""


def rank_relations(pairs: Sequence[tuple[int, int]], scores: np.ndarray) -> list[Triple]:
    """Return the relations of an image, the most likely first.

    Each pair gets its best predicate; class 0, "no relation", is never chosen.

    Args:
        pairs: (subject, object) indices, each pair at most once.
        scores: (pairs, predicates + 1) probabilities; column 0 is "no relation".

    Raises:
        ValueError: if pairs and scores do not fit together.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import rank_relations
        >>> rank_relations([(0, 1), (1, 0)], scores=[[0.7, 0.1, 0.2], [0.1, 0.8, 0.1]])
        [(1, 0, 1), (0, 1, 2)]

        ```
    """
    scores = np.asarray(scores)
    if (
        scores.ndim != 2
        or len(scores) != len(pairs)
        or scores.shape[1] < 2
        or len(set(map(tuple, pairs))) < len(pairs)
    ):
        raise ValueError(
            f"Expected one row of scores, starting with the score of no relation, for each of {len(pairs)} "
            "different pairs."
        )
    predicates = scores[:, 1:].argmax(axis=1) + 1
    best = scores[np.arange(len(pairs)), predicates]
    order = np.argsort(-best, kind="stable")
    return [(*map(int, pairs[place]), int(predicates[place])) for place in order]  # type: ignore[misc]


def predicate_recall(predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int) -> float:
    """Return R@k: the share of the relations of an image among its first k predictions, averaged over the images.

    Args:
        predictions: the predicted relations of each image, the most likely first (`rank_relations`); may be empty.
        references: the annotated relations of each image. Images without one do not count.
        k: number of predictions per image that count.

    Returns:
        The recall, from 0 to 1.

    Raises:
        ValueError: if the numbers of images differ, no image has a relation, or k is less than 1.
    """
    return float(np.mean([np.mean([found for _, found in image]) for image in _found(predictions, references, k)]))


def mean_predicate_recall(
    predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int
) -> float:
    """Return mR@k: R@k of each predicate, over the images where it occurs, averaged over the predicates.

    Predicates that do not occur in `references` are left out. (The released code counts each of them as 0, which
    gives the same value if all 50 predicates of Visual Genome occur.)

    Args:
        predictions: the predicted relations of each image, as for `predicate_recall`.
        references: the annotated relations of each image.
        k: number of predictions per image that count.
    """
    shares: dict[int, list[float]] = defaultdict(list)
    for image in _found(predictions, references, k):
        for predicate in {predicate for predicate, _ in image}:
            shares[predicate].append(float(np.mean([found for other, found in image if other == predicate])))
    return float(np.mean([np.mean(values) for values in shares.values()]))


def _found(
    predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int
) -> list[list[tuple[int, bool]]]:
    """Return, for each image with relations, their predicates and whether each relation was found."""
    if len(predictions) != len(references) or not any(references) or k < 1:
        raise ValueError(
            "Expected predictions and references of the same images, at least one relation, and k >= 1, got "
            f"{len(predictions)} predictions, {len(references)} references and k = {k}."
        )
    found = []
    for predicted, holding in zip(predictions, references, strict=True):
        if holding:
            first = {tuple(triple) for triple in predicted[:k]}
            found.append([(triple[2], tuple(triple) in first) for triple in holding])
    return found
