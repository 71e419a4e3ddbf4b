"""Splitting records by id."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.data.text.id_split import split_by_id


IDS = st.lists(st.integers(0, 30).map(str), min_size=20, max_size=60).filter(lambda ids: len(set(ids)) >= 8)
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}


@given(IDS, st.integers(0, 99))
def test_no_id_is_in_two_parts_and_every_record_is_in_one(ids: list[str], seed: int) -> None:
    parts = split_by_id(ids, SHARES, seed)
    assert list(parts) == list(SHARES)
    assert sorted(index for indices in parts.values() for index in indices) == list(range(len(ids)))
    held = [{ids[index] for index in indices} for indices in parts.values()]
    assert sum(map(len, held)) == len(set(ids))
    for part, share in zip(held, SHARES.values(), strict=True):
        assert abs(len(part) - share * len(set(ids))) < 1.01


@given(IDS, st.integers(0, 99))
def test_the_parts_do_not_depend_on_the_order_or_number_of_records(ids: list[str], seed: int) -> None:
    other = ids + ids[:5]
    random.Random(seed).shuffle(other)
    first, second = split_by_id(ids, SHARES, seed), split_by_id(other, SHARES, seed)
    for name in SHARES:
        assert {ids[index] for index in first[name]} == {other[index] for index in second[name]}


def test_the_seed_decides_and_the_split_is_the_same_everywhere() -> None:
    ids = list("abcdefghij")
    assert split_by_id(ids, {"train": 0.7, "test": 0.3}, seed=0) == {"train": [0, 1, 4, 5, 6, 7, 8], "test": [2, 3, 9]}
    assert len({tuple(split_by_id(ids, {"train": 0.7, "test": 0.3}, seed)["test"]) for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "sum 1"),
        ({"train": 0.5, "test": 0.4}, "sum 1"),
        ({"train": 1.5, "test": -0.5}, "positive"),
        ({"train": 0.98, "test": 0.02}, "'test' would be empty, because there are only 3 different ids"),
    ],
)
def test_shares_that_cannot_be_given_are_refused(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_id(["a", "b", "c", "c"], shares, seed=0)
