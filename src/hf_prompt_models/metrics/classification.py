"""Classification metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


CALIBRATION_BINS = 15
"""Number of bins of confidence, as in Guo et al. (arXiv 1706.04599)."""


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


@dataclass(frozen=True)
class ReliabilityBins:
    """Confidence and accuracy of predictions in bins of equal width: the data of a reliability diagram.

    Attributes:
        edges: (bins + 1,) from 0 to 1. A bin includes its upper edge.
        counts: (bins,) number of predictions.
        confidence: (bins,) mean probability of the predicted class; NaN for an empty bin.
        accuracy: (bins,) share of the predictions that are correct; NaN for an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_bins(
    probabilities: ArrayLike, references: ArrayLike, num_bins: int = CALIBRATION_BINS
) -> ReliabilityBins:
    """Return the confidence and the accuracy of predictions, by the probability of the predicted class.

    Args:
        probabilities: (examples, classes), from 0 to 1.
        references: (examples,) true class indices.
        num_bins: number of bins of equal width.

    Raises:
        ValueError: if shapes do not fit, there is no example, or a probability is not from 0 to 1.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import reliability_bins
        >>> reliability_bins([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1], num_bins=2).counts.tolist()
        [0, 3]

        ```
    """
    confidence, correct = _confidence(probabilities, references)
    edges = np.linspace(0, 1, num_bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(places, minlength=num_bins)
    sums = [np.bincount(places, values, num_bins) for values in (confidence, correct)]
    means = [np.divide(each, counts, out=np.full(num_bins, np.nan), where=counts > 0) for each in sums]
    return ReliabilityBins(edges, counts, *means)


def expected_calibration_error(
    probabilities: ArrayLike, references: ArrayLike, num_bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error (Guo et al., arXiv 1706.04599), from 0 to 1.

    Predictions are put into bins of equal width by the probability of the predicted class. The error is the difference
    between mean probability and accuracy, averaged over the predictions.

    Args:
        probabilities: (examples, classes), from 0 to 1.
        references: (examples,) true class indices.
        num_bins: number of bins.

    Raises:
        ValueError: as for `reliability_bins`.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import expected_calibration_error
        >>> round(expected_calibration_error([[0.9, 0.1], [0.8, 0.2]], [0, 0]), 2)
        0.15

        ```
    """
    bins = reliability_bins(probabilities, references, num_bins)
    filled = bins.counts > 0
    gaps = np.abs(bins.accuracy[filled] - bins.confidence[filled])
    return float(np.average(gaps, weights=bins.counts[filled]))


def accuracy_at_coverage(probabilities: ArrayLike, references: ArrayLike, coverage: float) -> float:
    """Return the accuracy of the most confident predictions, from 0 to 1 (selective prediction, arXiv 1705.08500).

    Args:
        probabilities: (examples, classes), from 0 to 1.
        references: (examples,) true class indices.
        coverage: share of the examples that are answered, above 0 and up to 1. It is rounded up to a number of
            examples. Of equal confidences, those that come first are answered.

    Raises:
        ValueError: as for `reliability_bins`, or if the coverage is out of range.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import accuracy_at_coverage
        >>> accuracy_at_coverage([[0.9, 0.1], [0.6, 0.4]], [0, 1], coverage=0.5)
        1.0

        ```
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"Expected a coverage above 0 and up to 1, got {coverage}.")
    confidence, correct = _confidence(probabilities, references)
    answered = max(math.ceil(coverage * len(confidence) - 1e-9), 1)
    return float(correct[np.argsort(-confidence, kind="stable")[:answered]].mean())


def selective_accuracy(probabilities: ArrayLike, references: ArrayLike, min_score: float) -> dict[str, float | None]:
    """Return the share of the examples with a confident prediction, and the accuracy of these predictions.

    Args:
        probabilities: (examples, classes), from 0 to 1.
        references: (examples,) true class indices.
        min_score: smallest probability of an answer. Predictions below it do not count.

    Returns:
        `coverage`, from 0 to 1, and `accuracy`, which is `None` if no prediction is confident enough.

    Raises:
        ValueError: as for `reliability_bins`.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import selective_accuracy
        >>> selective_accuracy([[0.9, 0.1], [0.6, 0.4]], [0, 1], min_score=0.7)
        {'coverage': 0.5, 'accuracy': 1.0}

        ```
    """
    confidence, correct = _confidence(probabilities, references)
    answered = confidence >= min_score
    return {
        "coverage": float(answered.mean()),
        "accuracy": float(correct[answered].mean()) if answered.any() else None,
    }


def _confidence(probabilities: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each predicted class, and whether the prediction is correct, (examples,) each."""
    probabilities, references = np.asarray(probabilities, dtype=float), np.asarray(references)
    if probabilities.ndim != 2 or references.shape != probabilities.shape[:1] or not references.size:
        raise ValueError(
            "Expected probabilities of shape (examples, classes) and one class index per example, got the shapes "
            f"{probabilities.shape} and {references.shape}."
        )
    if not (probabilities >= 0).all() or not (probabilities <= 1 + 1e-6).all():
        raise ValueError(
            f"Expected probabilities from 0 to 1, got {probabilities.min():g} to {probabilities.max():g}. Apply a "
            "softmax to logits."
        )
    return probabilities.max(axis=-1), (probabilities.argmax(axis=-1) == references).astype(float)
