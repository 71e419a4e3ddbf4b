"""Estimate of the test accuracy of the chosen model, with an interval, and of what more images would bring."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hf_prompt_models.tasks.image_classification.bootstrap import interval, resampled_means


LEVEL = 0.9
"""Level of all intervals."""
INFLATION = 1.7
"""Factor of the variance of a share of independent images.

The models of the folds share their images, and another training set would give another model and another choice. The
factor was chosen on the playground with 4 images per class (docs/auto.md).
"""
RESAMPLES = 500


@dataclass(frozen=True)
class Interval:
    """A value with its interval.

    Attributes:
        value: The value.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def wilson(share: float, number: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the Wilson interval of a share.

    Args:
        share: Observed share, from 0 to 1.
        number: Number of independent observations.
        level: Level of the interval.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * (share * (1 - share) / number + z * z / (4 * number * number)) ** 0.5
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


@dataclass(frozen=True)
class Curve:
    """Accuracy by the number of training images per class, with the fit `ceiling - slope / sqrt(images)`.

    Attributes:
        images: Mean numbers of training images per class, ascending.
        accuracies: Accuracies of the winner on held-out images.
        ceiling: Limit of the fit.
        slope: Factor of the fit, at least 0.
    """

    images: Sequence[float]
    accuracies: Sequence[float]
    ceiling: float
    slope: float

    def gain(self, before: float, after: float) -> float:
        """Return the gain of more images per class by the fit, at least 0.

        Args:
            before: Number of images per class.
            after: Larger number of images per class.
        """
        return self.slope * (before**-0.5 - after**-0.5)


def fit_curve(images: Sequence[float], accuracies: Sequence[float]) -> Curve:
    """Fit the learning curve by least squares. Without two different numbers of images, it is flat.

    Args:
        images: Mean numbers of training images per class.
        accuracies: Accuracies.
    """
    roots = np.asarray(images, dtype=float) ** -0.5
    values = np.asarray(accuracies, dtype=float)
    if len(set(images)) < 2:
        return Curve(list(images), list(accuracies), float(values.mean()), 0.0)
    slope = -float(np.polyfit(roots, values, 1)[0])
    slope = max(slope, 0.0)
    return Curve(list(images), list(accuracies), float((values + slope * roots).mean()), slope)


def gain_interval(
    images: Sequence[float], correct: np.ndarray, before: float, after: float, groups: np.ndarray, seed: int
) -> Interval:
    """Return the gain of more images per class, with an interval by the bootstrap over groups of images.

    Args:
        images: Mean numbers of training images per class.
        correct: (numbers, images) whether each held-out image is classified correctly.
        before: Number of images per class.
        after: Larger number of images per class.
        groups: (images,) group of each image.
        seed: Seed of the bootstrap.
    """
    gain = fit_curve(images, correct.mean(axis=1).tolist()).gain(before, after)
    names, places = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(places, weights=row, minlength=len(names)) for row in correct])
    means = resampled_means(np.stack([*sums, np.bincount(places)], axis=1), RESAMPLES, seed)
    accuracies = means[:, :-1] / means[:, -1:]  # groups have different numbers of images
    low, high = interval([fit_curve(images, each.tolist()).gain(before, after) for each in accuracies], LEVEL)
    return Interval(gain, min(low, gain), max(high, gain))


def estimate_accuracy(correct: np.ndarray, groups: np.ndarray, gain: float) -> Interval:
    """Return the estimated test accuracy of the model that is trained on all images.

    The value is the accuracy of nested cross-validation. Its models are trained on fewer images, so the upper end is
    raised by the gain that the learning curve has from their number of images to all.

    Args:
        correct: (images,) whether the choice made without an image classifies it correctly; NaN if it is in no fold.
        groups: (images,) group of each image. Images of a group count as one observation.
        gain: Gain of all images over those of a fold.
    """
    tested = ~np.isnan(correct)
    share = float(correct[tested].mean())
    number = len(np.unique(groups[tested])) / INFLATION
    return Interval(share, wilson(share, number)[0], wilson(min(share + gain, 1.0), number)[1])
