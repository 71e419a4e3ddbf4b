"""The most confident errors of a classifier, and a contact sheet of them."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.utils.figures import GREEN, RED, new_figure, save_figure, shortened


MOST_ERRORS = 100
"""Largest number of errors in the table."""
SHEET_ERRORS = 24
"""Largest number of errors on the contact sheet."""
COLUMNS = 6
TILE_INCHES = 1.8
TILE_PIXELS = 240
NAME_LETTERS = 24


@dataclass(frozen=True)
class ConfidentError:
    """Wrong prediction.

    Attributes:
        index: Index of the image.
        predicted: Predicted class index.
        probability: Probability of the predicted class.
        label_probability: Probability of the true class.
    """

    index: int
    predicted: int
    probability: float
    label_probability: float


def find_errors(probabilities: np.ndarray, labels: np.ndarray) -> list[ConfidentError]:
    """Return all wrong predictions, the most confident first.

    Args:
        probabilities: Class probabilities of shape (images, classes).
        labels: Class indices of shape (images,).
    """
    predicted, rows = probabilities.argmax(axis=-1), np.arange(len(labels))
    best, own = probabilities[rows, predicted], probabilities[rows, labels]
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-best[wrong], kind="stable")].tolist()
    return [ConfidentError(index, int(predicted[index]), float(best[index]), float(own[index])) for index in order]


def plot_errors(errors: Sequence[ConfidentError], images: LabelledImages, path: str | os.PathLike) -> None:
    """Write a contact sheet as PNG: a thumbnail of each image with its true and its predicted class.

    Args:
        errors: The errors, at least one.
        images: The images that were classified.
        path: File to write.
    """
    columns = min(COLUMNS, len(errors))
    rows = math.ceil(len(errors) / columns)
    figure = new_figure(max(TILE_INCHES * columns, 3.6), (TILE_INCHES + 0.75) * rows)
    tiles = figure.subplots(rows, columns, squeeze=False).flat
    for axes in tiles:
        axes.set_axis_off()
    for axes, error in zip(figure.axes, errors, strict=False):
        picture = images.load(error.index)
        picture.thumbnail((TILE_PIXELS, TILE_PIXELS))
        axes.imshow(np.asarray(picture))
        true, predicted = (
            shortened(images.class_names[label], NAME_LETTERS)
            for label in (images.labels[error.index], error.predicted)
        )
        name = shortened(images.names[error.index], NAME_LETTERS + 4)
        axes.text(0.5, -0.03, name, size=6, ha="center", va="top", transform=axes.transAxes)
        axes.text(0.5, -0.13, f"is: {true}", size=7, color=GREEN, ha="center", va="top", transform=axes.transAxes)
        said = f"model: {predicted}, {error.probability:.0%}"
        axes.text(0.5, -0.25, said, size=7, color=RED, ha="center", va="top", transform=axes.transAxes)
    save_figure(figure, path)
