"""Scores of answers that ignore the input."""

import numpy as np
import pytest

from hf_prompt_models.metrics.guessing import (
    chance_of_classes,
    chance_of_regions,
    chance_of_retrieval,
    most_frequent_class,
    right_regions,
)
from hf_prompt_models.metrics.retrieval import ranks_of_any, summarise_ranks


def test_chance_of_classes_is_one_in_as_many_as_there_are() -> None:
    labels = [0, 0, 0, 1, 7]
    assert chance_of_classes(labels, 8) == {"accuracy": 1 / 8, "mean_class_accuracy": 1 / 8, "top5_accuracy": 5 / 8}
    assert chance_of_classes(labels, 4)["top5_accuracy"] == 1
    assert most_frequent_class(labels) == 3 / 5


def test_chance_of_several_labels_is_the_mean_share_of_the_classes_that_occur() -> None:
    applies = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert chance_of_classes(applies, 3)["mean_average_precision"] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_chance_of_regions_counts_right_ones_among_the_candidates() -> None:
    proposals = [[[0, 0, 9, 9], [20, 20, 29, 29]], [[0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]], []]
    references = [[20, 20, 29, 29], [0, 0, 9, 9], [0, 0, 9, 9]]
    assert right_regions(proposals, references) == [(2, 1), (3, 2), (0, 0)]
    assert chance_of_regions(proposals, references) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)


def test_chance_of_retrieval_is_the_mean_over_random_orders() -> None:
    right = np.zeros((3, 7), dtype=bool)
    right[0, 0] = right[1, 1] = right[1, 4] = right[2, 2:6] = True
    generator = np.random.default_rng(0)
    measured = [summarise_ranks(ranks_of_any(generator.random(right.shape), right)) for _ in range(4000)]
    expected = chance_of_retrieval(right)
    for name, value in expected.items():
        assert value == pytest.approx(np.mean([each[name] for each in measured]), abs=0.02)
    assert expected["recall_at_1"] == pytest.approx((1 / 7 + 2 / 7 + 4 / 7) / 3)
    assert expected["recall_at_10"] == 1
