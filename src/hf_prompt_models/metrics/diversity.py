"""Diversity of generated texts."""

from collections import Counter
from collections.abc import Sequence

from hf_prompt_models.metrics.words import Tokenize, ngram_counts, words


def distinct_n(predictions: Sequence[str], n: int, tokenize: Tokenize = words) -> float:
    """Return the share of distinct n-grams among all n-grams of the predictions, from 0 to 1.

    It is 0 if no prediction has `n` tokens. Source: Li et al., NAACL 2016.

    Args:
        predictions: the generated texts.
        n: number of tokens of an n-gram.
        tokenize: splits a text into tokens.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for prediction in predictions:
        counts.update(ngram_counts(tokenize(prediction), n))
    return len(counts) / counts.total() if counts else 0.0
