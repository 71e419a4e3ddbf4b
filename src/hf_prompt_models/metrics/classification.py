"""Classification metrics."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Return the share of predicted class indices that are correct, from 0 to 1.

    Args:
        predictions: (examples,) predicted class indices.
        references: (examples,) true class indices.

    Raises:
        ValueError: if the shapes differ, or there is no example.
    """
    predictions, references = np.asarray(predictions), np.asarray(references)
    if predictions.shape != references.shape or not predictions.size:
        raise ValueError(
            f"Expected as many predictions as references, and at least one, got the shapes {predictions.shape} "
            f"and {references.shape}."
        )
    return float((predictions == references).mean())


def mean_class_accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Return the accuracy within each class, averaged over the classes in `references`, from 0 to 1.

    Args:
        predictions: (examples,) predicted class indices.
        references: (examples,) true class indices.
    """
    predictions, references = np.asarray(predictions), np.asarray(references)
    return float(
        np.mean([accuracy(predictions[references == c], references[references == c]) for c in np.unique(references)])
    )


def confusion_counts(predictions: ArrayLike, references: ArrayLike, num_classes: int) -> np.ndarray:
    """Return the confusion matrix as counts, (classes, classes): rows are true classes, columns predicted classes.

    Args:
        predictions: (examples,) predicted class indices.
        references: (examples,) true class indices.
        num_classes: number of classes.
    """
    pairs = np.asarray(references) * num_classes + np.asarray(predictions)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def mean_and_deviation(values: Sequence[float]) -> dict[str, float]:
    """Return the `mean` and the population standard deviation `std` over seeds, as the papers report them."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values))}


def harmonic_mean(base: float, new: float) -> float:
    """Return the harmonic mean of base and new accuracy, 2·B·N / (B + N); 0 if both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def top_k_accuracy(scores: ArrayLike, references: ArrayLike, k: int) -> float:
    """Return the share of examples whose class is among the `k` with the highest scores, from 0 to 1.

    Args:
        scores: (examples, classes).
        references: (examples,) class indices.
        k: number of classes that count. If there are fewer classes, every example counts as correct.
    """
    scores, references = np.asarray(scores), np.asarray(references)
    best = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    return float((best == references[:, None]).any(axis=-1).mean())


def mean_average_precision(scores: ArrayLike, references: ArrayLike) -> float:
    """Return the average precision, averaged over the classes that occur, from 0 to 1 (the metric of Charades).

    Args:
        scores: (examples, classes).
        references: (examples, classes), 1 for each class that applies, else 0.

    Raises:
        ValueError: if no example has a label.
    """
    from sklearn.metrics import average_precision_score

    scores, references = np.asarray(scores), np.asarray(references) > 0
    occurring = np.flatnonzero(references.any(axis=0))
    if not len(occurring):
        raise ValueError(
            "Cannot compute the mean average precision, because no example has a label. Pass examples with labels."
        )
    return float(np.mean([average_precision_score(references[:, c], scores[:, c]) for c in occurring]))
