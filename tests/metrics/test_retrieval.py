"""Retrieval metrics: properties, and ranks computed by sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.metrics.retrieval import ranks, ranks_of_any, recall_at, retrieval


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and targets."""
    queries, candidates = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    return generator.integers(0, 6, (queries, candidates)) / 4, generator.integers(0, candidates, queries)


@given(problems())
def test_ranks_equal_places_after_sorting(problem: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = problem
    for row, target, rank in zip(scores, targets, ranks(scores, targets), strict=True):
        # Of equal scores the right one comes last.
        order = sorted(range(len(row)), key=lambda place: (-row[place], place == target))
        assert order.index(target) + 1 == rank


@given(problems(), st.randoms())
def test_neither_the_order_of_candidates_nor_an_increasing_map_matters(
    problem: tuple[np.ndarray, np.ndarray], random: np.random.Generator
) -> None:
    scores, targets = problem
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    shuffled = np.exp(3 * scores[:, order])
    assert retrieval(shuffled, [order.index(target) for target in targets]) == retrieval(scores, targets)


@given(problems())
def test_recall_grows_with_k_and_raising_the_right_score_helps(problem: tuple[np.ndarray, np.ndarray]) -> None:
    scores, targets = problem
    before = ranks(scores, targets)
    recalls = [recall_at(before, k) for k in range(1, scores.shape[1] + 1)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1
    raised = scores.copy()
    raised[np.arange(len(targets)), targets] += 0.5
    assert (ranks(raised, targets) <= before).all()


def test_the_whole_dictionary_by_hand() -> None:
    scores = np.eye(12)
    scores[0, 1:8] = 2  # the right one at place 8
    scores[1, 2] = 2  # at place 2
    assert retrieval(scores) == {
        "recall_at_1": 10 / 12,
        "recall_at_5": 11 / 12,
        "recall_at_10": 1.0,
        "median_rank": 1.0,
        "mean_rank": pytest.approx((10 + 8 + 2) / 12),
    }
    assert retrieval(np.zeros((3, 3)))["mean_rank"] == 3


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros((2, 0)), None, "with at least one of each"),
        (np.zeros(3), None, "with at least one of each"),
        (np.zeros((2, 3)), None, "2 queries and 3 candidates"),
        (np.full((2, 2), np.nan), None, "contain NaN"),
        (np.zeros((2, 3)), [0], "candidate indices of 2 targets"),
        (np.zeros((2, 3)), [0.0, 1.0], "candidate indices of 2 targets, got dtype float64"),
        (np.zeros((2, 3)), [0, 3], "0 to 2, got 0 to 3"),
        (np.zeros((2, 3)), [-1, 1], "0 to 2, got -1 to 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(scores: np.ndarray, targets: list[int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranks(scores, targets)


def test_the_best_of_several_right_candidates_counts() -> None:
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 5, (20, 6)).astype(float)
    right = generator.random((20, 6)) < 0.3
    right[np.arange(20), generator.integers(0, 6, 20)] = True
    expected = []
    for row, own in zip(scores, right, strict=True):
        best = max(score for score, is_own in zip(row, own, strict=True) if is_own)
        expected.append(1 + sum(score >= best for score, is_own in zip(row, own, strict=True) if not is_own))
    assert ranks_of_any(scores, right).tolist() == expected
    targets = generator.integers(0, 6, 20)
    assert ranks_of_any(scores, targets[:, None] == np.arange(6)).tolist() == ranks(scores, targets).tolist()


def test_queries_without_a_right_candidate_are_refused() -> None:
    with pytest.raises(ValueError, match="Query 1 has no right"):
        ranks_of_any([[1.0, 2.0], [1.0, 2.0]], [[True, False], [False, False]])
    with pytest.raises(ValueError, match="NaN"):
        ranks_of_any([[np.nan]], [[True]])
    with pytest.raises(ValueError, match="of the same shape"):
        ranks_of_any([[1.0]], [[True, False]])
