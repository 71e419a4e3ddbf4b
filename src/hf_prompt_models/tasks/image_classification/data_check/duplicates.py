"""Near-duplicates between training and test images, found by the features of the frozen image tower."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages, FrozenTower


COPIES = 100
"""Largest number of test images of which copies are made."""
COPY_QUALITY = 75
FOUND_COPIES = 0.95
"""Share of these copies whose similarity counts as that of a duplicate."""
ROWS = 1024
"""Number of test images that are compared at a time."""


@dataclass(frozen=True)
class NearDuplicate:
    """Test image with its most similar training image.

    Attributes:
        train: Index of the training image.
        test: Index of the test image.
        cosine: Cosine similarity of their features.
        identical: Whether both files have the same content.
    """

    train: int
    test: int
    cosine: float
    identical: bool


def copied(image: Image.Image) -> Image.Image:
    """Return a copy of an image as people make them: at half its size, saved as JPEG."""
    content = io.BytesIO()
    smaller = image.resize((max(image.width // 2, 1), max(image.height // 2, 1)), Image.Resampling.BICUBIC)
    smaller.save(content, "JPEG", quality=COPY_QUALITY)
    return Image.open(content).convert("RGB")


def similarity_of_copies(tower: FrozenTower, checked: CheckedImages) -> float:
    """Return the cosine similarity that 95% of the images have with a copy of themselves (`copied`).

    Another backbone has other similarities, so a fixed threshold would find all images or none.

    Args:
        tower: The image tower.
        checked: The images. Up to `COPIES` of them, evenly spread, are copied.
    """
    count = len(checked.images)
    chosen = np.unique(np.linspace(0, count - 1, min(COPIES, count)).round().astype(int)).tolist()
    similarities = []
    for index in chosen:
        copy = tower.encode([copied(checked.images.load(index))])
        similarities.append(float(copy[0] @ checked.features[index]))
    return float(np.quantile(similarities, 1 - FOUND_COPIES, method="lower"))


def find_near_duplicates(train: CheckedImages, test: CheckedImages, threshold: float) -> list[NearDuplicate]:
    """Return the test images that are almost or exactly training images, most similar first.

    Args:
        train: The training images.
        test: The test images.
        threshold: Smallest cosine similarity of a near-duplicate, as from `similarity_of_copies`.
    """
    known: dict[bytes, int] = {}
    for index in range(len(train.images)):
        known.setdefault(train.images.digest(index), index)
    found = []
    for start, rows in enumerate(test.features.split(ROWS)):
        nearest: Sequence[torch.Tensor] = (rows @ train.features.T).max(dim=1)
        for place, (cosine, index) in enumerate(zip(*(each.tolist() for each in nearest), strict=True)):
            row = start * ROWS + place
            identical = known.get(test.images.digest(row))
            if identical is not None:
                found.append(NearDuplicate(identical, row, 1.0, True))
            elif cosine >= threshold:
                found.append(NearDuplicate(index, row, cosine, False))
    return sorted(found, key=lambda each: (not each.identical, -each.cosine))
