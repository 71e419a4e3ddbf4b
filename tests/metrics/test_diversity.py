"""Distinct n-grams against manual counts."""

from hf_prompt_models.metrics.words import distinct_n


def test_different_ngrams_are_counted_over_all_texts() -> None:
    texts = ["a cat, a dog", "A cat!"]
    assert distinct_n(texts, 1) == 3 / 6
    assert distinct_n(texts, 2) == 3 / 4
    assert distinct_n(["a"], 2) == 0
