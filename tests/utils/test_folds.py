"""Stratified folds: even, nested in groups, and never a class without training examples."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.utils.folds import NEVER_HELD_OUT, stratified_folds


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    num_folds=st.integers(2, 6),
    seed=st.integers(0, 5),
)
def test_each_class_is_spread_evenly_and_keeps_an_example_outside_of_each_fold(
    labels: list[int], num_folds: int, seed: int
) -> None:
    folds = stratified_folds(labels, num_folds, seed)
    for label in set(labels):
        own = folds[np.array(labels) == label]
        if len(own) == 1:
            assert own.tolist() == [NEVER_HELD_OUT]
            continue
        counts = [int((own == fold).sum()) for fold in range(num_folds)]
        assert sum(counts) == len(own)
        assert max(counts) - min(counts) <= 1
        assert max(counts) < len(own)


@given(groups=st.lists(st.integers(0, 6), min_size=12, max_size=12), seed=st.integers(0, 5))
def test_examples_of_a_group_share_a_fold(groups: list[int], seed: int) -> None:
    labels = [0, 1, 2] * 4
    folds = stratified_folds(labels, 3, seed, groups)
    for label in range(3):
        own = folds[np.array(labels) == label]
        assert len(set(own)) > 1 or set(own) == {NEVER_HELD_OUT}
    for group in set(groups):
        own_folds = {int(fold) for fold, own in zip(folds, groups, strict=True) if own == group}
        assert len(own_folds - {NEVER_HELD_OUT}) <= 1


def test_small_classes_fill_all_folds() -> None:
    folds = stratified_folds([label for label in range(100) for _ in range(2)], 5, seed=0)
    assert min(Counter(folds.tolist()).values()) > 20


def test_the_seed_decides() -> None:
    labels = [0] * 10 + [1] * 10
    first = stratified_folds(labels, 5, seed=0)
    assert first.tolist() == stratified_folds(labels, 5, seed=0).tolist()
    assert first.tolist() != stratified_folds(labels, 5, seed=1).tolist()


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="num_folds must be at least 2, got 1"):
        stratified_folds([0, 0], 1, seed=0)
