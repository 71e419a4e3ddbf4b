"""Retrieval metrics: where the right one of many candidates stands when they are ordered by score."""

import numpy as np
from numpy.typing import ArrayLike


def ranks(scores: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """(queries,) place of each query's right candidate, from 1.

    Candidates with the score of the right one come before it: a model that tells nothing apart gets the last place.

    Args:
        scores: (queries, candidates), higher is better.
        targets: (queries,) index of each query's right candidate. Default: the candidates come in the queries' order.

    Raises:
        ValueError: if shapes do not fit, a score is not a number, or a target is not a candidate.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"Scores must be (queries, candidates), with some of each; got {scores.shape}.")
    if np.isnan(scores).any():
        raise ValueError("Some scores are not numbers (NaN), and cannot be ordered.")
    queries, candidates = scores.shape
    if targets is None and queries != candidates:
        raise ValueError(f"Name the targets: {queries} queries and {candidates} candidates are not one for one.")
    places = np.arange(queries) if targets is None else np.asarray(targets)
    if places.shape != (queries,) or not np.issubdtype(places.dtype, np.integer):
        raise ValueError(f"Targets must be {queries} candidate indices; got {places.dtype} {places.shape}.")
    if places.min() < 0 or places.max() >= candidates:
        raise ValueError(f"Targets must be 0 to {candidates - 1}; they are {places.min()} to {places.max()}.")
    return (scores >= scores[np.arange(queries), places][:, None]).sum(axis=1)


def ranks_of_any(scores: ArrayLike, right: ArrayLike) -> np.ndarray:
    """(queries,) place of the best of each query's right candidates among the wrong ones, from 1.

    Wrong candidates with its score come before it, as in `ranks`.

    Args:
        scores: (queries, candidates), higher is better.
        right: (queries, candidates) bool; each query has one or more.

    Raises:
        ValueError: if shapes do not fit, a score is not a number, or a query has no right candidate.
    """
    scores, right = np.asarray(scores), np.asarray(right, dtype=bool)
    if scores.ndim != 2 or scores.shape != right.shape or not scores.size:
        raise ValueError(
            f"Scores and what is right must both be (queries, candidates); {scores.shape}, {right.shape}."
        )
    if np.isnan(scores).any():
        raise ValueError("Some scores are not numbers (NaN), and cannot be ordered.")
    if not right.any(axis=1).all():
        raise ValueError(f"Query {int(right.any(axis=1).argmin())} has no right candidate.")
    best = np.where(right, scores, -np.inf).max(axis=1)
    return 1 + ((scores >= best[:, None]) & ~right).sum(axis=1)


def recall_at(places: ArrayLike, k: int) -> float:
    """Share of queries whose right candidate is among the first `k`, from 0 to 1. `places` are `ranks`."""
    return float((np.asarray(places) <= k).mean())


def retrieval(scores: ArrayLike, targets: ArrayLike | None = None) -> dict[str, float]:
    """`recall_at_1`, `recall_at_5` and `recall_at_10`, from 0 to 1, `median_rank` and `mean_rank`, from 1.

    Args:
        scores: (queries, candidates), higher is better. For the other direction pass the transposed.
        targets: as for `ranks`.

    Raises:
        ValueError: as `ranks`.
    """
    return summarise_ranks(ranks(scores, targets))


def summarise_ranks(places: ArrayLike) -> dict[str, float]:
    """What `retrieval` gives, of `ranks` or `ranks_of_any`."""
    places = np.asarray(places)
    return {f"recall_at_{k}": recall_at(places, k) for k in (1, 5, 10)} | {
        "median_rank": float(np.median(places)),
        "mean_rank": float(np.mean(places)),
    }
