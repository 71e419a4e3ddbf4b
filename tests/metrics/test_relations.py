"""Recall of predicates against manual counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.metrics.evaluate_metrics import PredicateRecall
from hf_prompt_models.metrics.relations import mean_predicate_recall, predicate_recall, rank_relations


PREDICTIONS = [[(0, 1, 1), (1, 0, 2), (2, 0, 1)], [(0, 1, 2)], []]
REFERENCES = [[(0, 1, 1), (2, 0, 1), (1, 2, 2)], [(0, 1, 2)], [(3, 4, 1)]]


def test_recall_equals_a_hand_count() -> None:
    # Image 0: one of three is among the first 1 or 2, two are among the first 3. Image 1 is found, image 2 is not.
    for k, first in [(1, 1 / 3), (2, 1 / 3), (3, 2 / 3), (100, 2 / 3)]:
        assert predicate_recall(PREDICTIONS, REFERENCES, k) == pytest.approx((first + 1 + 0) / 3)
    # Predicate 1: images 0 and 2; predicate 2: images 0 and 1.
    assert mean_predicate_recall(PREDICTIONS, REFERENCES, 2) == pytest.approx(((1 / 2 + 0) / 2 + (0 + 1) / 2) / 2)
    assert mean_predicate_recall(PREDICTIONS, REFERENCES, 3) == pytest.approx(((1 + 0) / 2 + (0 + 1) / 2) / 2)


def test_images_without_relations_do_not_count() -> None:
    assert predicate_recall([*PREDICTIONS, []], [*REFERENCES, []], 3) == predicate_recall(PREDICTIONS, REFERENCES, 3)


def test_pairs_are_ranked_by_their_best_predicate_whatever_no_relation_scores() -> None:
    scores = np.array([[0.9, 0.06, 0.04], [0.1, 0.2, 0.7], [0.5, 0.4, 0.1]])
    assert rank_relations([(0, 1), (1, 0), (0, 2)], scores) == [(1, 0, 2), (0, 2, 1), (0, 1, 1)]
    with pytest.raises(ValueError, match="different pairs"):
        rank_relations([(0, 1), (0, 1), (0, 2)], scores)


triples = st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=8)


@given(st.lists(st.tuples(triples, triples), min_size=1, max_size=4))
def test_recall_rises_with_k_and_knowing_all_finds_all(pictures: list) -> None:
    predictions, references = [list(column) for column in zip(*pictures, strict=True)]
    references[0].append((0, 0, 1))
    for recall in (predicate_recall, mean_predicate_recall):
        values = [recall(predictions, references, k) for k in (1, 3, 8)]
        assert values == sorted(values)
        assert recall(references, references, 100) == 1


def test_the_evaluate_metric_has_both_at_several_k() -> None:
    found = PredicateRecall().compute(predictions=PREDICTIONS, references=REFERENCES, k=[2, 3])
    assert found["R@3"] == pytest.approx(predicate_recall(PREDICTIONS, REFERENCES, 3))
    assert found["mR@2"] == pytest.approx(mean_predicate_recall(PREDICTIONS, REFERENCES, 2))
    assert list(found) == ["R@2", "R@3", "mR@2", "mR@3"]
