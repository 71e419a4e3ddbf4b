"""Retrieval metrics: the rank of the correct candidate when all candidates are ordered by score."""

import numpy as np
from numpy.typing import ArrayLike


def ranks(scores: ArrayLike, targets: ArrayLike | None = None) -> np.ndarray:
    """Return the rank of each query's correct candidate, (queries,), from 1.

    Candidates with the same score as the correct one are ranked above it, so a model with constant scores gets the
    last rank.

    Args:
        scores: (queries, candidates), higher is better.
        targets: (queries,) index of each query's correct candidate. Default: candidates are in the order of queries.

    Raises:
        ValueError: if shapes do not fit, a score is not a number, or a target is not a candidate.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(
            f"Expected scores of shape (queries, candidates), with at least one of each, got {scores.shape}."
        )
    if np.isnan(scores).any():
        raise ValueError("Cannot rank scores that contain NaN. Pass finite scores.")
    queries, candidates = scores.shape
    if targets is None and queries != candidates:
        raise ValueError(
            f"The targets are needed because there are {queries} queries and {candidates} candidates. Pass the "
            "index of the right candidate for each query."
        )
    places = np.arange(queries) if targets is None else np.asarray(targets)
    if places.shape != (queries,) or not np.issubdtype(places.dtype, np.integer):
        raise ValueError(
            f"Expected the candidate indices of {queries} targets, got dtype {places.dtype} and shape {places.shape}."
        )
    if places.min() < 0 or places.max() >= candidates:
        raise ValueError(f"Expected targets from 0 to {candidates - 1}, got {places.min()} to {places.max()}.")
    return (scores >= scores[np.arange(queries), places][:, None]).sum(axis=1)


def ranks_of_any(scores: ArrayLike, right: ArrayLike) -> np.ndarray:
    """Return the rank of each query's best correct candidate among the wrong ones, (queries,), from 1.

    Wrong candidates with the same score are ranked above it, as in `ranks`.

    Args:
        scores: (queries, candidates), higher is better.
        right: (queries, candidates) bool, the correct candidates; each query has one or more.

    Raises:
        ValueError: if shapes do not fit, a score is not a number, or a query has no correct candidate.
    """
    scores, right = np.asarray(scores), np.asarray(right, dtype=bool)
    if scores.ndim != 2 or scores.shape != right.shape or not scores.size:
        raise ValueError(
            f"Expected scores and relevance of the same shape (queries, candidates), got {scores.shape} and "
            f"{right.shape}."
        )
    if np.isnan(scores).any():
        raise ValueError("Cannot rank scores that contain NaN. Pass finite scores.")
    if not right.any(axis=1).all():
        raise ValueError(
            f"Query {int(right.any(axis=1).argmin())} has no right candidate. Leave it out, or add its candidate."
        )
    best = np.where(right, scores, -np.inf).max(axis=1)
    return 1 + ((scores >= best[:, None]) & ~right).sum(axis=1)


def recall_at(places: ArrayLike, k: int) -> float:
    """Return the share of queries whose correct candidate is among the first `k`, from 0 to 1.

    Args:
        places: (queries,) ranks, from `ranks` or `ranks_of_any`.
        k: number of candidates that count.
    """
    return float((np.asarray(places) <= k).mean())


def retrieval(scores: ArrayLike, targets: ArrayLike | None = None) -> dict[str, float]:
    """Return `recall_at_1`, `recall_at_5`, `recall_at_10`, from 0 to 1, and `median_rank`, `mean_rank`, from 1.

    Args:
        scores: (queries, candidates), higher is better. For the other direction, pass the transposed matrix.
        targets: (queries,) index of each query's correct candidate, as for `ranks`.

    Raises:
        ValueError: as for `ranks`.
    """
    return summarise_ranks(ranks(scores, targets))


def summarise_ranks(places: ArrayLike) -> dict[str, float]:
    """Return the scores of `retrieval` from the ranks of `ranks` or `ranks_of_any`."""
    places = np.asarray(places)
    return {f"recall_at_{k}": recall_at(places, k) for k in (1, 5, 10)} | {
        "median_rank": float(np.median(places)),
        "mean_rank": float(np.mean(places)),
    }
