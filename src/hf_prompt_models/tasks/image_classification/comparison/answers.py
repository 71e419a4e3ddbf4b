"""Answers of all cells, read from their predictions, and what changes in comparison with hand-written prompts."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_prompt_models.tasks.image_classification.comparison.cells import Cell
from hf_prompt_models.training.run_folder import PREDICTIONS_FILE, ZERO_SHOT_FILE
from hf_prompt_models.utils.files import writing_csv


CHANGES_FILE, CLASSES_FILE = "changed_images.csv", "classes.csv"


@dataclass(frozen=True)
class Answers:
    """Answers of one model to a test set.

    Attributes:
        images: Names of the test images.
        labels: Their classes, as indices.
        predicted: The predicted classes, as indices.
        names: Names of the classes that occur, by index.
    """

    images: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    names: dict[int, str]

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right, 1 or 0."""
        return (self.predicted == self.labels).astype(np.float64)


def read_answers(path: Path) -> dict[str, Answers]:
    """Return the answers in a `predictions.csv`, by role of the test set.

    Args:
        path: The file.

    Raises:
        ValueError: If it is not a file of predictions.
    """
    rows: dict[str, list[list[str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if next(reader, [])[2:6] != ["label", "class", "predicted_label", "predicted_class"]:
            raise ValueError(f"{path} is not a file of predictions. Remove its folder to run the cell again.")
        for row in reader:
            rows.setdefault(row[0], []).append(row)
    found = {}
    for role, of_role in rows.items():
        names = {int(row[4]): row[5] for row in of_role} | {int(row[2]): row[3] for row in of_role}
        labels, predicted = (np.array([int(row[column]) for row in of_role]) for column in (2, 4))
        found[role] = Answers(tuple(row[1] for row in of_role), labels, predicted, names)
    return found


@dataclass(frozen=True)
class AllAnswers:
    """Answers of a comparison.

    Attributes:
        zero_shot: Answers of hand-written prompts, by role of the test set.
        cells: Answers of the cells, by role.
    """

    zero_shot: dict[str, Answers]
    cells: dict[Cell, dict[str, Answers]]

    def right(self, method: str, shots: int, role: str) -> np.ndarray:
        """Return whether the answers of a method are right, of shape (seeds, images)."""
        return np.stack([answers[role].right for cell, answers in self.cells.items() if _is(cell, method, shots)])

    def predicted(self, method: str, shots: int, role: str) -> np.ndarray:
        """Return the predicted classes of a method, of shape (seeds, images)."""
        return np.stack([answers[role].predicted for cell, answers in self.cells.items() if _is(cell, method, shots)])


def _is(cell: Cell, method: str, shots: int) -> bool:
    return (cell.method, cell.shots) == (method, shots)


def read_all(cells: Sequence[Cell], output_dir: str | os.PathLike) -> AllAnswers:
    """Read the answers of all cells.

    Args:
        cells: The cells, which are complete.
        output_dir: Folder of the comparison.

    Raises:
        ValueError: If a cell was tested on other images.
    """
    zero_shot = read_answers(Path(output_dir) / ZERO_SHOT_FILE)
    found = {}
    for cell in cells:
        path = cell.folder(output_dir) / PREDICTIONS_FILE
        found[cell] = read_answers(path)
        for role, answers in zero_shot.items():
            if role not in found[cell] or found[cell][role].images != answers.images:
                raise ValueError(
                    f"{path} has other test images than the comparison. Remove its folder to run it again."
                )
    return AllAnswers(zero_shot, found)


def class_rows(answers: AllAnswers, methods: Sequence[str], shots: Sequence[int]) -> list[list[str | int | float]]:
    """Return a row for each method, number of shots, test set and class, with the recall and the gain over zero-shot.

    Args:
        answers: All answers.
        methods: Names of the methods.
        shots: Numbers of training images per class.

    Returns:
        Rows of method, shots, test set, class, number of test images, zero-shot recall, mean recall, gain.
    """
    rows: list[list[str | int | float]] = []
    for method in methods:
        for k in shots:
            for role, zero_shot in answers.zero_shot.items():
                right = answers.right(method, k, role).mean(axis=0)
                for label in np.unique(zero_shot.labels):
                    of_class = zero_shot.labels == label
                    before, after = float(zero_shot.right[of_class].mean()), float(right[of_class].mean())
                    name = zero_shot.names[int(label)]
                    rows.append([method, k, role, name, int(of_class.sum()), before, after, after - before])
    return rows


def write_classes(path: Path, rows: Sequence[Sequence[str | int | float]]) -> None:
    """Write the result of `class_rows` as CSV."""
    head = ["method", "shots", "test", "class", "images", "zero_shot_recall", "recall", "gain"]
    _write(path, [head, *([*row[:5], *(f"{value:.4f}" for value in row[5:])] for row in rows)])


def write_changes(path: Path, answers: AllAnswers, methods: Sequence[str], shots: Sequence[int]) -> None:
    """Write a CSV file of the images that a method answers in another way than hand-written prompts, for any seed.

    Args:
        path: The file.
        answers: All answers.
        methods: Names of the methods.
        shots: Numbers of training images per class.
    """
    seeds = sorted({cell.seed for cell in answers.cells})
    rows = [["method", "shots", "test", "image", "class", "zero_shot", *(f"seed_{seed}" for seed in seeds), "right"]]
    for method in methods:
        for k in shots:
            for role, zero_shot in answers.zero_shot.items():
                predicted = answers.predicted(method, k, role)
                names = dict(zero_shot.names)
                for cell, of_cell in answers.cells.items():
                    if _is(cell, method, k):
                        names |= of_cell[role].names
                for index in np.flatnonzero((predicted != zero_shot.predicted).any(axis=0)):
                    shown = [names[int(each)] for each in (zero_shot.predicted[index], *predicted[:, index])]
                    label = int(zero_shot.labels[index])
                    right = int((predicted[:, index] == label).sum())
                    rows.append([method, str(k), role, zero_shot.images[index], names[label], *shown, f"{right}"])
    _write(path, rows)


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with writing_csv(path) as writer:
        writer.writerows(rows)
