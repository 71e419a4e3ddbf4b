"""Classification metrics."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Share of predicted class indices that are right, from 0 to 1."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    if predictions.shape != references.shape or not predictions.size:
        raise ValueError(f"Pass as many predictions as references, and some: {predictions.shape}, {references.shape}.")
    return float((predictions == references).mean())


def mean_class_accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Mean over the classes in `references` of the share of each that is predicted right, from 0 to 1."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    return float(
        np.mean([accuracy(predictions[references == c], references[references == c]) for c in np.unique(references)])
    )


def confusion_counts(predictions: ArrayLike, references: ArrayLike, num_classes: int) -> np.ndarray:
    """(classes, classes) counts: rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix  # loaded when needed, as it takes long

    return confusion_matrix(references, predictions, labels=range(num_classes))


def mean_and_deviation(values: Sequence[float]) -> dict[str, float]:
    """`mean` and population standard deviation `std`, as the papers report seeds."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def harmonic_mean(base: float, new: float) -> float:
    """2·B·N / (B + N), as base-to-new accuracies are summed up; 0 if both are."""
    return 2 * base * new / (base + new) if base + new else 0.0


def top_k_accuracy(scores: ArrayLike, references: ArrayLike, k: int) -> float:
    """Share of examples whose class is among the `k` of the highest scores, from 0 to 1.

    Args:
        scores: (examples, classes).
        references: (examples,) class indices.
        k: how many classes; with fewer than so many every example counts as right.
    """
    scores, references = np.asarray(scores), np.asarray(references)
    best = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    return float((best == references[:, None]).any(axis=-1).mean())


def mean_average_precision(scores: ArrayLike, references: ArrayLike) -> float:
    """Mean over the classes that occur of the average precision, from 0 to 1 (Charades' metric).

    Args:
        scores: (examples, classes).
        references: (examples, classes) 1 for each class that applies, else 0.
    """
    from sklearn.metrics import average_precision_score

    scores, references = np.asarray(scores), np.asarray(references) > 0
    occurring = np.flatnonzero(references.any(axis=0))
    if not len(occurring):
        raise ValueError("No example has a label, so there is no precision to speak of.")
    return float(np.mean([average_precision_score(references[:, c], scores[:, c]) for c in occurring]))
