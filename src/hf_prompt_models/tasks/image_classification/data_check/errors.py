"""The most confident errors of a classifier, and a contact sheet of them."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from PIL import Image, ImageOps

from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.utils.figures import GREEN, RED, new_figure, save_figure, shortened


MOST_ERRORS = 100
"""Largest number of errors in the table."""
SHEET_ERRORS = 24
"""Largest number of errors on the contact sheet."""
COLUMNS = 6
TILE_INCHES = 1.8
TILE_PIXELS = 240
NAME_LETTERS = 28
LINE_POINTS = 9


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
    figure = new_figure(max(TILE_INCHES * columns, 3.6), (TILE_INCHES + 0.6) * rows)
    tiles = figure.subplots(rows, columns, squeeze=False).flat
    for axes, error in zip_longest(tiles, errors):
        axes.set_axis_off()
        if error is None:
            continue
        axes.imshow(_tile(images.load(error.index)))
        true, predicted = (
            shortened(images.class_names[label], NAME_LETTERS)
            for label in (images.labels[error.index], error.predicted)
        )
        name = shortened(images.names[error.index], NAME_LETTERS)
        said = f"{shortened(predicted, NAME_LETTERS - 12)} {error.probability:.0%}"
        for line, (text, colour) in enumerate(((name, "black"), (f"is {true}", GREEN), (f"predicted {said}", RED))):
            below = (0, -2 - LINE_POINTS * line)
            axes.annotate(
                text, (0.5, 0), below, "axes fraction", "offset points", color=colour, size=7, ha="center", va="top"
            )
    save_figure(figure, path)


def _tile(image: Image.Image) -> np.ndarray:
    """Return an image on a white square, so that all tiles have the same shape."""
    image = ImageOps.contain(image, (TILE_PIXELS, TILE_PIXELS))
    tile = Image.new("RGB", (TILE_PIXELS, TILE_PIXELS), "white")
    tile.paste(image, ((TILE_PIXELS - image.width) // 2, (TILE_PIXELS - image.height) // 2))
    return np.asarray(tile)
