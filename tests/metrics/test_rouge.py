"""ROUGE-L against rouge-score and manually computed values."""

import pytest
from hypothesis import given
from rouge_score.rouge_scorer import RougeScorer

from hf_prompt_models.metrics.rouge import rouge_l
from tests.metrics.texts import PAIRS


class _Split:
    def tokenize(self, text: str) -> list[str]:
        return text.split()


@given(PAIRS)
def test_it_equals_rouge_score_on_the_same_tokens(pairs: list[tuple[str, list[str]]]) -> None:
    scorer = RougeScorer(["rougeL"], tokenizer=_Split())
    expected = [scorer.score_multi(references, prediction)["rougeL"].fmeasure for prediction, references in pairs]
    predictions, references = zip(*pairs, strict=True)
    assert rouge_l(predictions, references, tokenize=str.split) == pytest.approx(sum(expected) / len(expected))


def test_values_by_hand() -> None:
    # "the sat" of 3 written and 4 wanted words.
    precision, recall = 2 / 3, 2 / 4
    predictions, references = ["The dog sat."], ["the cat just sat"]
    assert rouge_l(predictions, references) == pytest.approx(2 * precision * recall / (precision + recall))
    coco = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert rouge_l(predictions, references, beta=1.2) == pytest.approx(coco)
    assert rouge_l(["", "a"], ["", "b a"]) == pytest.approx((0 + 2 / 3) / 2)
