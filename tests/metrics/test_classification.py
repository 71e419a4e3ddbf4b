"""Classification metrics against manual counts."""

import math

import numpy as np
import pytest

from hf_prompt_models.metrics.classification import (
    accuracy,
    accuracy_at_coverage,
    confusion_counts,
    expected_calibration_error,
    harmonic_mean,
    mean_and_deviation,
    mean_average_precision,
    mean_class_accuracy,
    reliability_bins,
    selective_accuracy,
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


def sampled_probabilities(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(4) / 2, size=count), generator.integers(4, size=count)


@pytest.mark.parametrize(("count", "num_bins"), [(1, 15), (200, 15), (200, 4)])
def test_the_calibration_error_is_the_mean_gap_of_bins_counted_one_by_one(count: int, num_bins: int) -> None:
    probabilities, labels = sampled_probabilities(count)
    error = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        inside = [
            (max(row), int(list(row).index(max(row)) == label))
            for row, label in zip(probabilities, labels, strict=True)
            if low < max(row) <= high
        ]
        if inside:
            confidence, correct = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            error += len(inside) / count * abs(confidence - correct)
    assert expected_calibration_error(probabilities, labels, num_bins) == pytest.approx(error)


def test_a_bin_includes_its_upper_edge_and_empty_bins_have_no_accuracy() -> None:
    bins = reliability_bins([[0.5, 0.5], [1.0, 0.0], [0.49, 0.51]], [0, 0, 0], num_bins=2)
    assert bins.counts.tolist() == [1, 2]
    assert bins.accuracy.tolist() == [1.0, 0.5]
    bins = reliability_bins([[0.9, 0.1]], [1], num_bins=2)
    assert np.isnan(bins.accuracy[0])
    assert bins.accuracy[1] == 0


def test_accuracy_at_coverage_counts_the_most_confident_predictions() -> None:
    probabilities, labels = sampled_probabilities(37)
    for coverage in (0.01, 0.3, 0.5, 1.0):
        answered = sorted(range(37), key=lambda row: -max(probabilities[row]))[: max(1, math.ceil(37 * coverage))]
        right = [probabilities[row].argmax() == labels[row] for row in answered]
        assert accuracy_at_coverage(probabilities, labels, coverage) == pytest.approx(sum(right) / len(right))
    assert accuracy_at_coverage(probabilities, labels, 1) == accuracy(probabilities.argmax(axis=1), labels)


def test_selective_accuracy_leaves_out_what_is_below_the_threshold() -> None:
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]
    assert selective_accuracy(probabilities, [0, 1, 0], 0.8) == {"coverage": 2 / 3, "accuracy": 0.5}
    assert selective_accuracy(probabilities, [0, 1, 0], 0.95) == {"coverage": 0.0, "accuracy": None}


def test_logits_shapes_and_coverages_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1, got -2 to 5"):
        expected_calibration_error([[5.0, -2.0]], [0])
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(2,\)"):
        expected_calibration_error([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="above 0 and up to 1, got 0"):
        accuracy_at_coverage([[0.5, 0.5]], [0], 0)
