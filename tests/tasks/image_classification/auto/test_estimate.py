"""Intervals of accuracies, and the fit of learning curves."""

import numpy as np
import pytest

from hf_prompt_models.tasks.image_classification.auto.estimate import (
    INFLATION,
    estimate_accuracy,
    fit_curve,
    gain_interval,
    wilson,
)


@pytest.mark.parametrize(("share", "number"), [(0.7, 48), (0.0, 20), (1.0, 20), (0.5, 1000)])
def test_the_ends_of_the_wilson_interval_are_shares_that_the_observed_one_is_just_compatible_with(
    share: float, number: int
) -> None:
    for end in wilson(share, number, level=0.9):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(share - end) == pytest.approx(1.6448536 * (end * (1 - end) / number) ** 0.5, rel=1e-6)
    low, high = wilson(share, number)
    assert low <= share <= high


def test_the_fit_recovers_its_own_curve() -> None:
    images = [1.0, 2, 4, 8]
    curve = fit_curve(images, [0.8 - 0.3 * count**-0.5 for count in images])
    assert (curve.ceiling, curve.slope) == pytest.approx((0.8, 0.3))
    assert curve.gain(16, 32) == pytest.approx(0.3 * (1 / 4 - 32**-0.5))


def test_a_falling_or_unknown_curve_promises_nothing() -> None:
    assert fit_curve([1, 2, 4], [0.6, 0.5, 0.4]).gain(4, 8) == 0
    assert fit_curve([4], [0.5]).gain(4, 8) == 0


def test_the_gain_has_an_interval_over_groups() -> None:
    rng = np.random.default_rng(0)
    images = [1.0, 2, 4]
    correct = (rng.random((3, 400)) < np.array([[0.4], [0.5], [0.6]])).astype(float)
    gain = gain_interval(images, correct, 4, 8, np.arange(400), seed=0)
    assert gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(0.4 * (1 / 2 - 8**-0.5), abs=0.03)
    tripled = gain_interval(images, np.tile(correct, 3), 4, 8, np.tile(np.arange(400), 3), seed=0)
    assert tripled.high - tripled.low == pytest.approx(gain.high - gain.low, rel=0.2)  # copies add nothing


def test_the_estimate_counts_groups_and_its_upper_end_has_the_gain() -> None:
    correct = np.array([1.0] * 30 + [0.0] * 10 + [np.nan] * 5)
    estimate = estimate_accuracy(correct, np.arange(45), gain=0.05)
    assert estimate.value == 0.75
    assert estimate.low == pytest.approx(wilson(0.75, 40 / INFLATION)[0])
    assert estimate.high == pytest.approx(wilson(0.80, 40 / INFLATION)[1])
    in_pairs = estimate_accuracy(correct, np.arange(45) // 2, gain=0.05)
    assert in_pairs.low == pytest.approx(wilson(0.75, 20 / INFLATION)[0])
    assert estimate_accuracy(np.ones(10), np.arange(10), gain=0.1).high == 1
