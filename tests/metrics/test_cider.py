"""CIDEr-D against a slow computation of the formula of the paper, and golden values."""

import math

import numpy as np
import pytest
from hypothesis import given

from hf_prompt_models.metrics.cider import cider_d, cider_d_scores
from tests.metrics.texts import PAIRS


def slow_cider_d(predictions: list[str], references: list[list[str]]) -> list[float]:
    """Dense vectors over all n-grams of the set, one loop after another."""

    def ngrams(text: str, order: int) -> list[str]:
        tokens = text.split()
        return [" ".join(tokens[start : start + order]) for start in range(len(tokens) - order + 1)]

    texts = predictions + [reference for alternatives in references for reference in alternatives]
    scores = []
    for prediction, alternatives in zip(predictions, references, strict=True):
        total = 0.0
        for reference in alternatives:
            for order in (1, 2, 3, 4):
                vocabulary = sorted({gram for text in texts for gram in ngrams(text, order)})
                idf = np.zeros(len(vocabulary))
                for place, gram in enumerate(vocabulary):
                    having = sum(any(gram in ngrams(text, order) for text in group) for group in references)
                    idf[place] = math.log(len(predictions) / max(1, having))
                written = np.array([ngrams(prediction, order).count(gram) for gram in vocabulary]) * idf
                wanted = np.array([ngrams(reference, order).count(gram) for gram in vocabulary]) * idf
                norms = np.linalg.norm(written) * np.linalg.norm(wanted)
                if norms == 0:
                    continue
                difference = len(ngrams(prediction, 2)) - len(ngrams(reference, 2))
                penalty = math.exp(-(difference**2) / (2 * 6**2))
                total += penalty * np.minimum(written, wanted) @ wanted / norms
        scores.append(10 * total / 4 / len(alternatives))
    return scores


@given(PAIRS)
def test_it_equals_a_slow_computation(pairs: list[tuple[str, list[str]]]) -> None:
    predictions = [prediction for prediction, _ in pairs]
    references = [alternatives for _, alternatives in pairs]
    expected = slow_cider_d(predictions, references)
    assert cider_d_scores(predictions, references, tokenize=str.split) == pytest.approx(expected, abs=1e-9)


PREDICTIONS = ["a red cup of glass", "a small blue bowl", "a cup"]
REFERENCES = [["a red glass cup", "the cup is of red glass"], ["a small blue bowl"], ["a large green vase"]]


def test_golden_values() -> None:
    # Computed once with the arithmetic of the released scorer (vrama91/cider, ciderD_scorer.py).
    assert cider_d_scores(PREDICTIONS, REFERENCES) == pytest.approx([2.4300107844570595, 10.0, 0.0], abs=1e-6)
    assert cider_d(PREDICTIONS, REFERENCES) == pytest.approx((2.4300107844570595 + 10) / 3, abs=1e-6)


def test_repeating_a_rare_word_does_not_pay() -> None:
    once, often = (cider_d([text, "the dog"], ["a rare okapi", "the cat"]) for text in ("okapi", "okapi okapi okapi"))
    assert often < once


def test_words_that_all_references_have_and_a_single_example_count_nothing() -> None:
    assert cider_d_scores(["the", "the dog"], ["the cat", "the dog"])[0] == 0
    assert cider_d(["a cat"], ["a cat"]) == 0
