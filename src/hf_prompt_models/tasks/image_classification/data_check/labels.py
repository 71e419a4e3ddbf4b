"""Labels that look wrong: confident learning (Northcutt et al., arXiv 1911.00068) on cross-validated probabilities."""

from dataclasses import dataclass

import numpy as np

from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages
from hf_prompt_models.utils.folds import NEVER_HELD_OUT, stratified_folds


NUM_FOLDS = 5
INVERSE_DECAY = 100.0
"""Weight of the features against the penalty of the logistic regression; unit features need a large one."""
ITERATIONS = 300


@dataclass(frozen=True)
class SuspiciousLabel:
    """Image whose label looks wrong.

    Attributes:
        index: Index of the image.
        suggested: Class index that the cross-validated classifier suggests.
        self_confidence: Probability of the given label.
        suggested_probability: Probability of the suggested class.
    """

    index: int
    suggested: int
    self_confidence: float
    suggested_probability: float

    @property
    def margin(self) -> float:
        """Probability of the given label minus that of the suggested one; the smallest is the most suspicious."""
        return self.self_confidence - self.suggested_probability


def find_suspicious_labels(probabilities: np.ndarray, labels: np.ndarray) -> list[SuspiciousLabel]:
    """Return the labels that confident learning would correct, the most suspicious first.

    An image is counted as one of class j if the probability of j is at least the mean probability of j among the
    images labelled j. A label is suspicious if the most probable class is another one that the image is counted as.

    Args:
        probabilities: Class probabilities of shape (images, classes), each from a model that was not trained on the
            image.
        labels: Class indices of shape (images,).
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels]
    means = np.full(probabilities.shape[1], np.inf)  # a class without labelled images is never suggested
    for label in np.unique(labels):
        means[label] = own[labels == label].mean()
    best = probabilities.argmax(axis=-1)
    flagged = (best != labels) & (probabilities[rows, best] >= means[best])
    found = [
        SuspiciousLabel(index, int(best[index]), float(own[index]), float(probabilities[index, best[index]]))
        for index in np.flatnonzero(flagged).tolist()
    ]
    return sorted(found, key=lambda each: each.margin)


def cross_validated_probabilities(checked: CheckedImages, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return class probabilities of images by classifiers that were not trained on them.

    Each classifier is a logistic regression on the features of the frozen image tower. Files with the same content are
    in the same fold.

    Args:
        checked: The images.
        seed: Seed of the folds.

    Returns:
        Probabilities of shape (images, classes), and whether each image was judged: an image whose class has no other
        image cannot be.
    """
    from sklearn.linear_model import LogisticRegression  # imported only when needed, because the import is slow

    labels, features = checked.labels, checked.features.double().numpy()
    digests = [checked.images.digest(index) for index in range(len(labels))]
    folds = stratified_folds(labels, NUM_FOLDS, seed, digests)
    probabilities = np.zeros((len(labels), len(checked.images.class_names)))
    for fold in np.unique(folds[folds != NEVER_HELD_OUT]):
        own, rest = folds == fold, folds != fold
        if len(np.unique(labels[rest])) < 2:
            continue
        classifier = LogisticRegression(C=INVERSE_DECAY, max_iter=ITERATIONS).fit(features[rest], labels[rest])
        probabilities[np.ix_(own, classifier.classes_)] = classifier.predict_proba(features[own])
    return probabilities, folds != NEVER_HELD_OUT
