"""Labels that look wrong: self-confidence (Northcutt et al., arXiv 1911.00068) under cross-validation."""

from dataclasses import dataclass

import numpy as np

from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages
from hf_prompt_models.utils.folds import NEVER_HELD_OUT, stratified_folds


NUM_FOLDS = 5
INVERSE_DECAY = 0.1
"""Weight of the data against the penalty of the logistic regression."""
ITERATIONS = 200


@dataclass(frozen=True)
class SuspiciousLabel:
    """Image whose label looks wrong.

    Attributes:
        index: Index of the image.
        suggested: Class index that the cross-validated classifier predicts.
        self_confidence: Probability of the given label.
        suggested_probability: Probability of the suggested class.
    """

    index: int
    suggested: int
    self_confidence: float
    suggested_probability: float

    @property
    def margin(self) -> float:
        """Probability of the given label minus that of the suggested one."""
        return self.self_confidence - self.suggested_probability


def find_suspicious_labels(probabilities: np.ndarray, labels: np.ndarray) -> list[SuspiciousLabel]:
    """Return the labels that look wrong, that with the lowest probability first.

    A label looks wrong if its probability is below chance, one in the number of classes that have images, and another
    class is predicted. The thresholds of confident learning, the mean probability of each class, find fewer wrong
    labels among more right ones if the classifier is weak.

    Args:
        probabilities: Class probabilities of shape (images, classes), each from a model that was not trained on the
            image.
        labels: Class indices of shape (images,).
    """
    rows, best = np.arange(len(labels)), probabilities.argmax(axis=-1)
    own = probabilities[rows, labels]
    flagged = np.flatnonzero((best != labels) & (own < 1 / max(len(np.unique(labels)), 1)))
    order = flagged[np.argsort(own[flagged], kind="stable")].tolist()
    return [
        SuspiciousLabel(index, int(best[index]), float(own[index]), float(probabilities[index, best[index]]))
        for index in order
    ]


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
    features = features - features.mean(axis=0)
    features /= features.std()  # not of each dimension, which would raise those that are noise
    digests = [checked.images.digest(index) for index in range(len(labels))]
    folds = stratified_folds(labels, NUM_FOLDS, seed, digests)
    judged = folds != NEVER_HELD_OUT
    if len(np.unique(labels)) < 2:
        judged[:] = False  # there is no other class to suggest
    probabilities = np.zeros((len(labels), len(checked.images.class_names)))
    for fold in np.unique(folds[judged]):
        own, rest = folds == fold, folds != fold
        classifier = LogisticRegression(C=INVERSE_DECAY, max_iter=ITERATIONS, tol=1e-3)
        classifier.fit(features[rest], labels[rest])
        probabilities[np.ix_(own, classifier.classes_)] = classifier.predict_proba(features[own])
    return probabilities, judged
