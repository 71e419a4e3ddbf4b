"""Near-duplicates between training and test images, found by the features of the frozen image tower."""

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages, FrozenTower


COPIES = 100
"""Largest number of test images of which copies are made."""
COPY_QUALITY = 75
FOUND_COPIES = 0.95
"""Share of these copies whose similarity counts as that of a duplicate."""
ROWS = 1024
"""Number of test images that are compared at a time."""
CANDIDATES = 3
"""Number of the most similar training images whose pixels are compared with those of a test image."""
SIDE = 16
MIN_CORRELATION = 0.8
"""Smallest correlation of the grey values of near-duplicates at 16 x 16 pixels. Copies at another size, quality or
brightness have at least 0.99; photos of one shelf, whose features can be as similar as those of copies, up to 0.72."""


@dataclass(frozen=True)
class NearDuplicate:
    """Test image with its most similar training image.

    Attributes:
        train: Index of the training image.
        test: Index of the test image.
        cosine: Cosine similarity of their features.
        correlation: Correlation of their grey values at 16 x 16 pixels.
        identical: Whether both files have the same content.
    """

    train: int
    test: int
    cosine: float
    correlation: float
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


def groups_of_copies(tower: FrozenTower, checked: CheckedImages) -> np.ndarray:
    """Return the group of each image: images of a class that are linked by similar ones share a group.

    Two images of a class are linked if they are as similar as copies (`similarity_of_copies`), such as photos that
    were taken one after the other.

    Args:
        tower: The image tower.
        checked: The images.

    Returns:
        Integers of shape (images,).
    """
    from sklearn.cluster import DBSCAN  # imported only when needed, because the import is slow

    labels, features = checked.labels, checked.features.double().numpy()
    distance = max(1 - similarity_of_copies(tower, checked), 1e-6)
    groups = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        own = labels == label
        found = DBSCAN(eps=distance, min_samples=1, metric="cosine").fit_predict(features[own])
        groups[own] = groups.max() + 1 + found
    return groups


def grey_values(image: Image.Image) -> np.ndarray:
    """Return the grey values of an image at 16 x 16 pixels, of shape (256,), with mean 0 and length 1."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=float).ravel()
    values -= values.mean()
    return values / max(np.linalg.norm(values), 1e-9)


def find_near_duplicates(train: CheckedImages, test: CheckedImages, threshold: float) -> list[NearDuplicate]:
    """Return the test images that are almost or exactly training images, most similar first.

    The features find candidates, whose pixels are compared: photos of one scene can have equal features, too.

    Args:
        train: The training images.
        test: The test images.
        threshold: Smallest cosine similarity of a near-duplicate, as from `similarity_of_copies`.
    """
    known: dict[bytes, int] = {}
    for index in range(len(train.images)):
        known.setdefault(train.images.digest(index), index)
    pixels = cache(lambda index: grey_values(train.images.load(index)))
    found = []
    for start in range(0, len(test.images), ROWS):
        similar = test.features[start : start + ROWS] @ train.features.T
        nearest = similar.topk(min(CANDIDATES, similar.shape[1]), dim=1)
        for row, (cosines, indices) in enumerate(
            zip(nearest.values.tolist(), nearest.indices.tolist(), strict=True), start
        ):
            identical = known.get(test.images.digest(row))
            if identical is not None:
                found.append(NearDuplicate(identical, row, 1.0, 1.0, True))
            elif cosines[0] >= threshold:
                own = grey_values(test.images.load(row))
                pairs = zip(cosines, indices, strict=True)
                compared = [
                    (float(own @ pixels(index)), index, cosine) for cosine, index in pairs if cosine >= threshold
                ]
                correlation, index, cosine = max(compared)
                if correlation >= MIN_CORRELATION:
                    found.append(NearDuplicate(index, row, cosine, correlation, False))
    return sorted(found, key=lambda each: (not each.identical, -each.cosine))
