"""Temperature scaling (Guo et al., arXiv 1706.04599), applied only where it helps on data it was not fitted on."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hf_prompt_models.metrics.classification import expected_calibration_error


RANGE = (1e-2, 1e2)
"""Smallest and largest temperature. Predictions that are all correct would give 0."""
STEPS = 60
"""Halvings of the range, after which the temperature is exact to 15 digits."""


@dataclass(frozen=True)
class Calibration:
    """Result of fitting a temperature.

    Errors are those on held-out examples, before and after dividing by a temperature that was fitted on the other
    folds.

    Attributes:
        temperature: Temperature to apply: the fitted one, or 1 if it does not help.
        fitted_temperature: Temperature fitted on all held-out examples.
        examples: Number of held-out examples.
        folds: Number of folds that held out examples.
        calibration_error: Expected calibration error before.
        calibrated_error: Expected calibration error after.
        negative_log_likelihood: Mean negative log-likelihood before.
        calibrated_log_likelihood: Mean negative log-likelihood after.
    """

    temperature: float
    fitted_temperature: float
    examples: int
    folds: int
    calibration_error: float
    calibrated_error: float
    negative_log_likelihood: float
    calibrated_log_likelihood: float

    @property
    def is_applied(self) -> bool:
        """Whether the temperature changes probabilities."""
        return self.temperature != 1.0

    def as_results(self) -> dict[str, Any]:
        """Return the values for `results.json`."""
        return asdict(self)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the negative log-likelihood of each example, (examples,).

    Args:
        logits: (examples, classes) logits or log-probabilities.
        labels: (examples,) class indices.
        temperature: Number that the logits are divided by.
    """
    return -log_softmax(logits / temperature)[np.arange(len(labels)), labels]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities in double precision, (examples, classes)."""
    shifted = logits.astype(float) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the smallest mean negative log-likelihood; 1 if no other one has a smaller.

    The likelihood is convex in 1 / temperature, so its slope has one root, which is bisected.

    Args:
        logits: (examples, classes) logits or log-probabilities of examples that the model was not trained on.
        labels: (examples,) class indices.
    """
    low, high = np.log(1 / RANGE[1]), np.log(1 / RANGE[0])
    own = logits[np.arange(len(labels)), labels].astype(float)
    for _ in range(STEPS):
        middle = (low + high) / 2
        probabilities = np.exp(log_softmax(np.exp(middle) * logits))
        slope = ((probabilities * logits).sum(axis=-1) - own).mean()
        low, high = (low, middle) if slope > 0 else (middle, high)
    temperature = float(np.exp(-(low + high) / 2))
    means = [negative_log_likelihood(logits, labels, each).mean() for each in (temperature, 1.0)]
    return temperature if means[0] < means[1] else 1.0


def cross_fitted(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> Calibration:
    """Fit a temperature, and decide on data that it was not fitted on whether it is applied.

    For each fold, a temperature is fitted on the other folds and applied to this one. The temperature of all folds is
    applied if these predictions have a lower calibration error and a lower negative log-likelihood than before.

    Args:
        logits: (examples, classes) logits or log-probabilities. The model of an example was not trained on it.
        labels: (examples,) class indices.
        folds: (examples,) fold of each example. There are at least two.
    """
    scaled = logits.astype(float)
    for fold in np.unique(folds):
        own = folds == fold
        scaled[own] /= fit_temperature(logits[~own], labels[~own])
    before, after = (
        (expected_calibration_error(np.exp(log_softmax(each)), labels), negative_log_likelihood(each, labels).mean())
        for each in (logits, scaled)
    )
    fitted = fit_temperature(logits, labels)
    helps = after[0] < before[0] and after[1] < before[1]
    return Calibration(
        temperature=fitted if helps else 1.0,
        fitted_temperature=fitted,
        examples=len(labels),
        folds=len(np.unique(folds)),
        calibration_error=before[0],
        calibrated_error=after[0],
        negative_log_likelihood=float(before[1]),
        calibrated_log_likelihood=float(after[1]),
    )
