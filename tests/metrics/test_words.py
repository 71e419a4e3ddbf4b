"""Words, n-grams and the pairing of references with predictions."""

import pytest

from hf_prompt_models.metrics.words import ngram_counts, tokenized_pairs, words


def test_words_are_lower_case_and_without_punctuation() -> None:
    text = 'The T-shirt: 1,5 kg of "Café au lait" — don’t wash, at 30.5°!'
    assert words(text) == ["the", "t-shirt", "1,5", "kg", "of", "café", "au", "lait", "don’t", "wash", "at", "30.5"]
    assert words(" … ") == []


def test_ngrams_are_counted() -> None:
    assert ngram_counts(["a", "b", "a", "b"], 2) == {("a", "b"): 2, ("b", "a"): 1}
    assert ngram_counts(["a"], 2) == {}


def test_one_reference_is_a_list_of_one() -> None:
    expected = [(["a", "b"], [["a"]])]
    assert tokenized_pairs(["A b"], ["a"], words) == expected
    assert tokenized_pairs(["A b"], [["a"]], words) == expected


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "and at least one, got 0 predictions"),
        (["a", "b"], ["a"], "2 predictions and 1 references"),
        (["a"], [[]], "Prediction 0 has no reference"),
        ("ab", ["a", "b"], "Expected lists of texts"),
        (["a", "b"], "ab", "Expected lists of texts"),
    ],
)
def test_what_does_not_fit_together_is_refused(predictions: list[str], references: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenized_pairs(predictions, references, words)
