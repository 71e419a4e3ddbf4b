"""Write the predictions of classifiers as CSV, from which all metrics can be recomputed."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hf_prompt_models.tasks.classification.protocols import TestSet
from hf_prompt_models.utils.files import writing_csv


def confusion_matrix_file(role: str, tests: dict[str, TestSet]) -> str:
    """Return the file name of a test's confusion matrix; that of the first test has no suffix."""
    if role == next(iter(tests)):
        return "confusion_matrix.png"
    return f"confusion_matrix_{re.sub(r'[^A-Za-z0-9]+', '_', role)}.png"


def write_predictions(path: Path, tests: dict[str, TestSet], scores: dict[str, np.ndarray]) -> None:
    """Write a CSV file with a row for each test image or video, from which all accuracies can be recomputed.

    `rank` is the rank of the true class by score, from 1. The share of rows with rank 1 is the accuracy, and that of
    ranks 1 to 5 the top-5 accuracy. Several labels are separated by semicolons; the scores for their mean average
    precision are in a file next to it (`scores_file`).

    Args:
        path: Path of the file.
        tests: Test sets, by role.
        scores: Scores of shape (examples, classes), by role.
    """
    with writing_csv(path) as writer:
        kind = next(iter(tests.values())).images.kind
        head = ["test", kind, "label", "class", "predicted_label", "predicted_class"]
        several = any(test.images.multi_label for test in tests.values())
        writer.writerow(head if several else [*head, "rank"])
        for role, test in tests.items():
            names = test.images.class_names
            order = np.argsort(-scores[role], axis=-1, kind="stable")
            for name, label, best in zip(test.images.names, test.images.labels, order, strict=True):
                labels = label if isinstance(label, list) else [label]
                shown = [";".join(map(str, labels)), ";".join(names[each] for each in labels)]
                rank = [] if several else [1 + int(np.flatnonzero(best == label)[0])]
                writer.writerow([role, name, *shown, best[0], names[best[0]], *rank])
    if several:
        write_scores(scores_file(path), tests, scores)


def scores_file(predictions: Path) -> Path:
    """Return the file of scores next to a file of predictions: `scores.csv` next to `predictions.csv`."""
    return predictions.with_name(predictions.name.replace("predictions", "scores"))


def write_scores(path: Path, tests: Mapping[str, TestSet], scores: Mapping[str, np.ndarray]) -> None:
    """Write a CSV file with a row for each example and class: whether the class applies, and its score."""
    with writing_csv(path) as writer:
        kind = next(iter(tests.values())).images.kind
        writer.writerow(["test", kind, "label", "class", "applies", "score"])
        for role, test in tests.items():
            for name, label, row in zip(test.images.names, test.images.labels, scores[role], strict=True):
                labels = set(label if isinstance(label, list) else [label])
                for index, (each, score) in enumerate(zip(test.images.class_names, row, strict=True)):
                    writer.writerow([role, name, index, each, int(index in labels), repr(float(score))])
