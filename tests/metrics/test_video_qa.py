"""Accuracy of answers."""

import pytest

from hf_prompt_models.metrics.video_qa import answer_accuracy


def test_accuracy_is_counted_overall_and_by_kind() -> None:
    found = answer_accuracy(["a", "b", "c", "d"], ["a", "x", "c", "D"], ["what", "what", "who", "who"])
    assert found == {"accuracy": 0.5, "accuracy_what": 0.5, "accuracy_who": 0.5}
    assert answer_accuracy(["a"], ["a"]) == {"accuracy": 1.0}


@pytest.mark.parametrize("lists", [([], []), (["a"], []), (["a"], ["a"], ["what", "who"])])
def test_unlike_lists_are_refused(lists: tuple) -> None:
    with pytest.raises(ValueError, match="equal numbers"):
        answer_accuracy(*lists)
