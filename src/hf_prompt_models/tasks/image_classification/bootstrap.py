"""Bootstrap over images: which differences in accuracy are more than noise of the images."""

from collections.abc import Iterator, Sequence

import numpy as np


LEVEL = 0.95
ROWS_AT_A_TIME = 2**22
"""Largest number of counts that are kept in memory at once."""


def resampled_means(values: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """Return the mean of each column in samples of the rows with replacement, of shape (resamples, columns).

    All columns use the same samples, so that differences of columns are paired.

    Args:
        values: Values of shape (images, columns), such as whether a method is right.
        resamples: Number of samples.
        seed: Seed of the samples.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.tasks.image_classification.bootstrap import resampled_means
        >>> resampled_means(np.ones((4, 2)), resamples=3).tolist()
        [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]

        ```
    """
    return np.concatenate([counts @ values / len(values) for counts in _counts(len(values), resamples, seed)])


def _counts(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each image is in each sample, for some samples at a time."""
    generator = np.random.default_rng(seed)
    step = max(ROWS_AT_A_TIME // images, 1)
    for start in range(0, resamples, step):
        number = min(step, resamples - start)
        chosen = generator.integers(images, size=(number, images)) + images * np.arange(number)[:, None]
        yield np.bincount(chosen.ravel(), minlength=number * images).reshape(number, images).astype(np.float64)


def interval(samples: np.ndarray | Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of resampled values, with a probability of `level`."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def is_noise(samples: np.ndarray) -> bool:
    """Return whether the interval of resampled differences contains 0."""
    low, high = interval(samples)
    return low <= 0 <= high
