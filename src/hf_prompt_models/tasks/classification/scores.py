"""Accuracies of classifiers and of guessing."""

from typing import Any

import numpy as np

from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.metrics.classification import (
    accuracy,
    accuracy_at_coverage,
    expected_calibration_error,
    harmonic_mean,
    mean_and_deviation,
    mean_class_accuracy,
    selective_accuracy,
)
from hf_prompt_models.metrics.guessing import chance_of_classes, most_frequent_class


def classification_metrics(predictions: np.ndarray, references: Any) -> dict[str, float]:
    """Return `accuracy` and `mean_class_accuracy`, from 0 to 1."""
    return {
        "accuracy": accuracy(predictions, references),
        "mean_class_accuracy": mean_class_accuracy(predictions, references),
    }


COVERAGES = (0.5, 0.8, 0.9, 1.0)
"""Shares of the examples whose accuracy `hf-prompt evaluate` reports, most confident first."""


def calibration_metrics(probabilities: np.ndarray, references: Any, min_score: float | None = None) -> dict[str, Any]:
    """Return metrics of how far probabilities can be trusted.

    Args:
        probabilities: Class probabilities of shape (examples, classes).
        references: Class index of each example.
        min_score: Smallest probability of an answer, if there is one.

    Returns:
        `expected_calibration_error`; `accuracy_at_coverage`, by share of the examples that are answered; and with
        `min_score` an entry `min_score` with its `value`, the `coverage` and the `accuracy` of the answers.
    """
    metrics: dict[str, Any] = {
        "expected_calibration_error": expected_calibration_error(probabilities, references),
        "accuracy_at_coverage": {
            str(coverage): accuracy_at_coverage(probabilities, references, coverage) for coverage in COVERAGES
        },
    }
    if min_score is not None:
        metrics["min_score"] = {"value": min_score} | selective_accuracy(probabilities, references, min_score)
    return metrics


def guessing(files: LabelledFiles) -> dict[str, Any]:
    """Return the scores of guessing: `chance`, by metric, and `most_frequent_class`, from 0 to 1."""
    if files.multi_label:
        applies = np.zeros((len(files), len(files.class_names)))
        for row, labels in zip(applies, files.labels, strict=True):
            row[labels] = 1
        return {"chance": chance_of_classes(applies, len(files.class_names))}
    return {
        "chance": chance_of_classes(files.labels, len(files.class_names)),
        "most_frequent_class": most_frequent_class(files.labels),
    }


def summarise_seeds(results: dict[str, Any]) -> None:
    """Add the means over the seeds to the results of a run, as in `results.json`."""
    runs = results["seeds"].values()
    results["accuracy"] = mean_and_deviation([run["accuracy"] for run in runs])
    for role, test in results["tests"].items():
        for name in test["zero_shot"]:
            test[name] = mean_and_deviation([run["tests"][role][name] for run in runs])
    if results["protocol"] == "base-to-new":
        base, new = results["tests"]["base"], results["tests"]["new"]
        results["harmonic_mean"] = {
            "zero_shot": harmonic_mean(base["zero_shot"]["accuracy"], new["zero_shot"]["accuracy"]),
            "learned": harmonic_mean(base["accuracy"]["mean"], new["accuracy"]["mean"]),
        }


def least_recognised(scores: np.ndarray, files: LabelledFiles) -> list[tuple[str, float]]:
    """Return the classes that are recognised no better than by guessing, each with its recall, worst first.

    Args:
        scores: Scores of shape (files, classes).
        files: Test data with one label per file.
    """
    labels, right = np.asarray(files.labels), scores.argmax(axis=-1) == np.asarray(files.labels)
    recalls = {label: float(right[labels == label].mean()) for label in np.unique(labels)}
    weak = sorted((recall, label) for label, recall in recalls.items() if recall <= 1 / len(files.class_names))
    return [(files.class_names[label], recall) for recall, label in weak]
