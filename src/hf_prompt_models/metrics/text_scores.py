"""All scores of generated texts that commands report."""

from collections.abc import Sequence

from hf_prompt_models.metrics.bleu import bleu
from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.rouge import rouge_l
from hf_prompt_models.metrics.words import References, Tokenize, distinct_n, words


def text_scores(predictions: Sequence[str], references: References, tokenize: Tokenize = words) -> dict[str, float]:
    """Return `bleu_1` to `bleu_4`, `rouge_l`, `distinct_1` and `distinct_2` from 0 to 1, and `cider_d` from 0 to 10.

    Args:
        predictions: the generated texts.
        references: one or several reference texts for each prediction.
        tokenize: splits a text into tokens.

    Raises:
        ValueError: if references and predictions do not match in number.
    """
    scores = bleu(predictions, references, tokenize=tokenize)
    return {f"bleu_{order}": score for order, score in enumerate(scores, start=1)} | {
        "rouge_l": rouge_l(predictions, references, tokenize=tokenize),
        "cider_d": cider_d(predictions, references, tokenize),
        "distinct_1": distinct_n(predictions, 1, tokenize),
        "distinct_2": distinct_n(predictions, 2, tokenize),
    }
