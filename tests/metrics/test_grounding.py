"""Accuracy counts overlaps of more than one half; the oracle is the accuracy of the best possible choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.metrics.evaluate_metrics import GroundingAccuracy
from hf_prompt_models.metrics.grounding import grounding_accuracy, is_right_region, proposal_oracle


RIGHT = (0, 0, 9, 9)  # 100 pixels
HALF = (0, 0, 9, 4)  # 50 of them
MORE = (0, 0, 9, 5)  # 60 of them
FAR = (50, 50, 59, 59)


def test_a_half_is_not_enough() -> None:
    assert is_right_region([RIGHT, HALF, MORE, FAR], [RIGHT] * 4).tolist() == [True, False, True, False]
    assert grounding_accuracy([RIGHT, HALF, MORE, FAR], [RIGHT] * 4) == 0.5


def test_whole_pixels_are_counted() -> None:
    # 2 of 3 columns; as lengths between the corners it would be 1 of 2, no more than a half.
    assert grounding_accuracy([(0, 0, 1, 0)], [(0, 0, 2, 0)]) == 1


def test_the_oracle_asks_for_one_right_region() -> None:
    assert proposal_oracle([[FAR, MORE], [FAR, HALF], []], [RIGHT] * 3) == pytest.approx(1 / 3)


box = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(20, 40)] * 2)


@given(st.lists(st.tuples(st.lists(box, min_size=1, max_size=5), box), min_size=1, max_size=5))
def test_no_choice_exceeds_the_oracle_and_the_best_reaches_it(examples: list) -> None:
    proposals, references = [list(column) for column in zip(*examples, strict=True)]
    oracle = proposal_oracle(proposals, references)
    assert grounding_accuracy([boxes[0] for boxes in proposals], references) <= oracle

    def best(boxes: list, right: tuple) -> tuple:
        return max(boxes, key=lambda each: bool(is_right_region([each], [right])[0]))

    assert grounding_accuracy([best(*example) for example in examples], references) == oracle


def test_the_evaluate_metric_has_both() -> None:
    metric = GroundingAccuracy()
    metric.add_batch(predictions=[1, 0], proposals=[[FAR, MORE], [FAR, RIGHT, HALF]], references=[RIGHT, RIGHT])
    assert metric.compute() == {"accuracy": 0.5, "proposal_oracle": 1.0}


def test_nothing_and_unequal_numbers_are_refused() -> None:
    for function in (grounding_accuracy, proposal_oracle):
        with pytest.raises(ValueError, match=r"Expected "):
            function([], [])
        with pytest.raises(ValueError, match=r"Expected "):
            function([[RIGHT]], [])
