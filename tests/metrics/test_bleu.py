"""BLEU against sacrebleu and manual counts."""

import math

import pytest
from hypothesis import given
from sacrebleu.metrics import BLEU

from hf_prompt_models.metrics.bleu import bleu
from tests.metrics.texts import PAIRS


@given(PAIRS)
def test_every_order_equals_sacrebleu_on_the_same_tokens(pairs: list[tuple[str, list[str]]]) -> None:
    predictions = [prediction for prediction, _ in pairs]
    references = [alternatives for _, alternatives in pairs]
    most = max(map(len, references))
    # sacrebleu's lists are one a place; it passes over None.
    streams = [[texts[place] if place < len(texts) else None for texts in references] for place in range(most)]
    for order, score in enumerate(bleu(predictions, references, tokenize=str.split), start=1):
        metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order)
        assert score == pytest.approx(metric.corpus_score(predictions, streams).score / 100, abs=1e-9)


def test_scores_equal_counts_by_hand() -> None:
    # One word of four is wrong, and so are two of three pairs; the text is one word shorter than the closer reference.
    scores = bleu(["The cat SAT here."], [["the cat lay right here", "a dog sat on the mat for an hour"]], max_order=2)
    brevity = math.exp(1 - 5 / 4)
    assert scores == pytest.approx([brevity * 4 / 4, brevity * math.sqrt(4 / 4 * 1 / 3)])


def test_a_repeated_word_counts_as_often_as_one_reference_has_it() -> None:
    assert bleu(["the the the the"], [["the cat the dog", "the bird sings on"]])[0] == 2 / 4


def test_an_empty_text_has_score_zero() -> None:
    assert bleu([""], ["a cat"]) == [0, 0, 0, 0]
