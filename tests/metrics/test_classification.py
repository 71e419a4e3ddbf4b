"""Classification metrics against counts by hand."""

import numpy as np
import pytest

from hf_prompt_models.metrics.classification import (
    accuracy,
    confusion_counts,
    mean_and_deviation,
    mean_class_accuracy,
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
