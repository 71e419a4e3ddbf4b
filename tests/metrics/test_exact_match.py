"""Exact match, with and without the end token."""

import pytest

from hf_prompt_models.metrics.exact_match import exact_match
from hf_prompt_models.metrics.vqa import normalize_answer


def test_with_an_end_token_the_answer_must_end_where_the_reference_does() -> None:
    written = {
        " dax</s>": 1,
        " dax</s></s></s> dog": 1,  # what follows the first end is padding, or not meant
        " dax": 0,  # no end
        " dax and": 0,
        " daxes</s>": 0,
        " dax.</s>": 0,
        "</s>": 0,
    }
    for prediction, expected in written.items():
        assert exact_match([prediction], ["dax"], eos_token="</s>") == expected


def test_without_one_the_texts_are_compared_without_outer_spaces() -> None:
    assert exact_match([" a dog\n", "cat", "cats"], ["a dog", " cat", "cat"]) == pytest.approx(2 / 3)
    assert exact_match(["Two dogs.</s>"], ["2 dogs"], eos_token="</s>", normalize=normalize_answer) == 1


def test_lengths_must_agree() -> None:
    for predictions, references in ([], []), (["a"], []):
        with pytest.raises(ValueError, match="as many references as predictions"):
            exact_match(predictions, references)
