"""Learning rate schedules of the paper."""

import math

import pytest

from hf_prompt_models.utils.schedule import epoch_cosine_learning_rate


@pytest.mark.parametrize("num_epochs", [10, 50, 100, 200])
def test_rates_equal_the_published_formula(num_epochs: int) -> None:
    rates = [epoch_cosine_learning_rate(epoch, num_epochs, 0.002) for epoch in range(num_epochs)]
    expected = [1e-5] + [0.001 * (1 + math.cos(math.pi * (epoch - 1) / num_epochs)) for epoch in range(1, num_epochs)]
    assert rates == pytest.approx(expected, rel=0, abs=1e-12)
