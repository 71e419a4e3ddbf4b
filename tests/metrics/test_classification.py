"""Classification metrics against manual counts."""

import numpy as np
import pytest

from hf_prompt_models.metrics.classification import (
    accuracy,
    confusion_counts,
    harmonic_mean,
    mean_and_deviation,
    mean_average_precision,
    mean_class_accuracy,
    top_k_accuracy,
)
from hf_prompt_models.metrics.evaluate_metrics import Accuracy


PREDICTIONS, REFERENCES = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]


def test_accuracies_equal_counts_by_hand() -> None:
    assert accuracy(PREDICTIONS, REFERENCES) == 4 / 6
    assert mean_class_accuracy(PREDICTIONS, REFERENCES) == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)


def test_confusion_rows_are_true_classes() -> None:
    expected = [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]
    assert np.array_equal(confusion_counts(PREDICTIONS, REFERENCES, 4), expected)


def test_deviation_is_the_populations() -> None:
    assert mean_and_deviation([0.5, 0.7]) == {"mean": pytest.approx(0.6), "std": pytest.approx(0.1)}


def test_lengths_must_agree() -> None:
    for predictions, references in ([[0], [0, 1]], [[], []]):
        with pytest.raises(ValueError, match="as many predictions as references"):
            accuracy(predictions, references)


def test_the_evaluate_metric_accumulates_batches() -> None:
    metric = Accuracy()
    metric.add_batch(predictions=PREDICTIONS[:4], references=REFERENCES[:4])
    metric.add_batch(predictions=PREDICTIONS[4:], references=REFERENCES[4:])
    expected = {
        "accuracy": accuracy(PREDICTIONS, REFERENCES),
        "mean_class_accuracy": mean_class_accuracy(PREDICTIONS, REFERENCES),
    }
    assert metric.compute() == expected


def test_the_harmonic_mean_is_two_times_product_over_sum() -> None:
    assert harmonic_mean(0.8, 0.4) == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    assert harmonic_mean(0.0, 0.0) == 0.0


def test_top_k_counts_the_class_among_the_best_k() -> None:
    scores = [[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]
    labels = [2, 2, 2]
    assert [top_k_accuracy(scores, labels, k) for k in (1, 2, 3, 5)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_mean_average_precision_is_the_mean_over_classes_that_occur() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.7, 0.5], [0.1, 0.6, 0.5]])
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0]])
    first = (1 / 1 + 2 / 3) / 2  # right at ranks 1 and 3
    second = 1 / 2  # right at rank 2
    assert mean_average_precision(scores, labels) == pytest.approx((first + second) / 2)
    with pytest.raises(ValueError, match="no example has a label"):
        mean_average_precision(scores, np.zeros((3, 3)))
