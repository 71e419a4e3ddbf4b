"""VQA accuracy against a manual leave-one-out computation, and the official normalisation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.metrics.vqa import normalize_answer, vqa_accuracy, vqa_scores


ANSWER = st.text("ab", min_size=1, max_size=2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" Yes.\n", "yes"),
        ("The red-brown dog", "red brown dog"),
        ("red - brown", "red brown"),  # a punctuation mark next to a space is removed
        ("black/white", "black white"),
        ("1,000", "1000"),  # in a number as well
        ("1,000/day", "1000day"),  # and then every mark in the answer
        ("3.5", "3.5"),
        ("3.", "3"),
        ("p.m.", "pm"),
        ("two cats and none", "2 cats and 0"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("shouldnt've", "shouldn't've"),
        ("yall'd've", "y'all'd've"),
        ("somebody'd", "somebodyd"),  # as the official table has it
        ("it's a", "it's"),
        ("well", "well"),
    ],
)
def test_answers_are_normalised_as_the_official_code_does(answer: str, expected: str) -> None:
    assert normalize_answer(answer) == expected


# 1/10 · (people who gave it · min(1, (n - 1) / 3) + the others · min(1, n / 3))
@pytest.mark.parametrize(("agreeing", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)])
def test_the_score_by_how_many_of_ten_gave_the_answer(agreeing: int, expected: float) -> None:
    answers = ["red"] * agreeing + [f"other {number}" for number in range(10 - agreeing)]
    assert vqa_scores(["Red!"], [answers]) == pytest.approx([expected])


@given(ANSWER, st.lists(ANSWER, min_size=10, max_size=10))
def test_it_is_the_mean_over_leaving_one_out(prediction: str, people: list[str]) -> None:
    normal = [normalize_answer(answer) for answer in people]
    expected = 0.0
    for left_out in range(10):
        others = normal[:left_out] + normal[left_out + 1 :]
        expected += min(1, others.count(normalize_answer(prediction)) / 3) / 10
    assert vqa_scores([prediction], [people]) == pytest.approx([expected])


def test_both_sides_are_normalised_whether_or_not_people_agree() -> None:
    assert vqa_scores(["The cat.", "two"], [["cat"] * 10, ["2"] * 10]) == [1, 1]
    assert vqa_scores(["cat"], [["the cat"] * 5 + ["dog"] * 5]) == [1]


def test_the_official_code_compares_texts_as_they_are_where_people_agree() -> None:
    assert vqa_scores(["The cat.", "cat "], [["cat"] * 10] * 2, legacy_unanimous=True) == [0, 1]
    assert vqa_scores(["The cat."], [["cat"] * 9 + ["dog"]], legacy_unanimous=True) == [1]


def test_accuracy_is_the_mean_over_questions() -> None:
    assert vqa_accuracy(["a dog", "no"], [["dog"] * 10, ["yes"] * 10]) == 0.5


@pytest.mark.parametrize(
    ("predictions", "answers", "message"),
    [
        ([], [], "at least one"),
        (["a"], [], "1 predictions"),
        (["a"], [[]], "question 0"),
        (["a"], ["yes"], "got 'yes'"),
    ],
)
def test_what_does_not_fit_together_is_refused(predictions: list[str], answers: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vqa_scores(predictions, answers)
