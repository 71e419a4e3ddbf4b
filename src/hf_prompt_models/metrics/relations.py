"""Metrics of predicate classification: which of a picture's relations are among the k that are thought likeliest.

Source: thunlp/CPT, Oscar/eval/vg/eval_vg.py. Each ordered pair of objects is given one predicate.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


Triple = tuple[int, int, int]
"""Subject, object, predicate."""


def rank_relations(pairs: Sequence[tuple[int, int]], scores: np.ndarray) -> list[Triple]:
    """A picture's relations from the likeliest on: for each pair the best predicate, class 0, "no relation", left out.

    Args:
        pairs: (subject, object), no pair twice.
        scores: (pairs, predicates + 1) probabilities, no relation first.

    Raises:
        ValueError: if they do not fit.
    """
    scores = np.asarray(scores)
    if (
        scores.ndim != 2
        or len(scores) != len(pairs)
        or scores.shape[1] < 2
        or len(set(map(tuple, pairs))) < len(pairs)
    ):
        raise ValueError(f"Pass a row of scores, no relation first, for each of {len(pairs)} different pairs.")
    predicates = scores[:, 1:].argmax(axis=1) + 1
    best = scores[np.arange(len(pairs)), predicates]
    order = np.argsort(-best, kind="stable")
    return [(*map(int, pairs[place]), int(predicates[place])) for place in order]  # type: ignore[misc]


def predicate_recall(predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int) -> float:
    """R@k: the share of a picture's relations that are among its first k predictions, mean over pictures, from 0 to 1.

    Args:
        predictions: by picture, from the likeliest on (`rank_relations`); none where nothing was predicted.
        references: by picture, the relations that hold; pictures without one do not count.
        k: how many predictions of a picture count.

    Raises:
        ValueError: if numbers of pictures differ, no picture has a relation, or k is less than 1.
    """
    return float(np.mean([np.mean([found for _, found in picture]) for picture in _found(predictions, references, k)]))


def mean_predicate_recall(
    predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int
) -> float:
    """mR@k: as R@k for each predicate by itself, over the pictures where it occurs, then the mean over predicates.

    Predicates that occur nowhere in `references` are left out. (The released code counts each of them as 0, which is
    the same where all of Visual Genome's 50 occur.)

    Args:
        predictions, references, k: as of `predicate_recall`.
    """
    shares: dict[int, list[float]] = defaultdict(list)
    for picture in _found(predictions, references, k):
        for predicate in {predicate for predicate, _ in picture}:
            shares[predicate].append(float(np.mean([found for other, found in picture if other == predicate])))
    return float(np.mean([np.mean(values) for values in shares.values()]))


def _found(
    predictions: Sequence[Sequence[Triple]], references: Sequence[Sequence[Triple]], k: int
) -> list[list[tuple[int, bool]]]:
    """By picture with relations: the predicate of each and whether it was found."""
    if len(predictions) != len(references) or not any(references) or k < 1:
        raise ValueError(
            f"Pass predictions and references of the same pictures, some with relations, and k from 1 on: "
            f"{len(predictions)}, {len(references)}, k = {k}."
        )
    found = []
    for predicted, holding in zip(predictions, references, strict=True):
        if holding:
            first = {tuple(triple) for triple in predicted[:k]}
            found.append([(triple[2], tuple(triple) in first) for triple in holding])
    return found
