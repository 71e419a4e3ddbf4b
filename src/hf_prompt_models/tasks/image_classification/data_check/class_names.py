"""Class names that the backbone does not know: zero-shot recognises their images no better than by chance."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


SHOWN_CONFUSIONS = 3


@dataclass(frozen=True)
class UnknownName:
    """Class whose name does not describe its images to the backbone.

    Attributes:
        label: Class index.
        images: Number of images of the class.
        recall: Share of these that hand-written prompts classify as this class.
        false_positive_rate: Share of the images of other classes that they classify as this class.
        confusions: The classes that images of this class are taken for, most frequent first, with numbers of images.
    """

    label: int
    images: int
    recall: float
    false_positive_rate: float
    confusions: Sequence[tuple[int, int]]


def find_unknown_names(logits: np.ndarray, labels: np.ndarray) -> list[UnknownName]:
    """Return the classes that zero-shot prompts recognise no better than by chance, worst first.

    Chance is the larger of two: one in the number of classes, and the share of other images that are taken for the
    class, because a name that attracts all images recognises those of its class, too.

    Args:
        logits: Zero-shot logits of shape (images, classes).
        labels: Class indices of shape (images,).
    """
    predictions, found = logits.argmax(axis=-1), []
    for label in np.unique(labels).tolist():
        own = labels == label
        recall = float((predictions[own] == label).mean())
        others = float((predictions[~own] == label).mean()) if (~own).any() else 0.0
        if recall <= max(1 / logits.shape[1], others):
            confusions = Counter(predictions[own][predictions[own] != label].tolist())
            found.append(UnknownName(label, int(own.sum()), recall, others, confusions.most_common(SHOWN_CONFUSIONS)))
    return sorted(found, key=lambda each: (each.recall - each.false_positive_rate, each.label))
