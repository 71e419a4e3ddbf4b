"""Bootstrap over test images: equal to a loop over samples, and to the exact distribution of a small set."""

from itertools import product

import numpy as np
import pytest

from hf_prompt_models.tasks.image_classification import bootstrap
from hf_prompt_models.tasks.image_classification.bootstrap import interval, is_noise, resampled_means


def test_means_are_those_of_a_loop_over_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).random((7, 3))
    chosen = np.random.default_rng(4).integers(7, size=(20, 7))
    expected = [[sum(values[image, column] for image in sample) / 7 for column in range(3)] for sample in chosen]
    np.testing.assert_allclose(resampled_means(values, 20, seed=4), expected)
    monkeypatch.setattr(bootstrap, "ROWS_AT_A_TIME", 15)  # two samples at a time, of which the last one is alone
    np.testing.assert_allclose(resampled_means(values, 20, seed=4)[:19], expected[:19])


def test_the_interval_is_that_of_all_samples_of_a_small_set() -> None:
    values = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.5, 0.0], [1.0, 0.5]])
    differences = [
        sum(values[image, 0] - values[image, 1] for image in sample) / 5 for sample in product(range(5), repeat=5)
    ]
    samples = resampled_means(values, 40_000)
    np.testing.assert_allclose(
        interval(samples[:, 0] - samples[:, 1]), np.quantile(differences, [0.025, 0.975]), atol=0.01
    )


def test_a_difference_is_noise_unless_its_interval_excludes_zero() -> None:
    right = np.random.default_rng(0).random(400) < 0.5
    better, other = right | (np.arange(400) < 30), np.roll(right, 7)  # as often right, on other images
    samples = resampled_means(np.stack([right, better, other], axis=1).astype(float), 2000)
    assert not is_noise(samples[:, 1] - samples[:, 0])  # paired: never worse on any image
    assert is_noise(samples[:, 2] - samples[:, 0])
    assert is_noise(samples[:, 0] - samples[:, 0])
