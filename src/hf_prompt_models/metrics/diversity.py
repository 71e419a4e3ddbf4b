"""How varied written texts are."""

from collections import Counter
from collections.abc import Sequence

from hf_prompt_models.metrics.words import Tokenize, ngram_counts, words


def distinct_n(predictions: Sequence[str], n: int, tokenize: Tokenize = words) -> float:
    """Different n-grams of all predictions together over all their n-grams, from 0 to 1 (Li et al., NAACL 2016).

    0 if no prediction has `n` tokens.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for prediction in predictions:
        counts.update(ngram_counts(tokenize(prediction), n))
    return len(counts) / counts.total() if counts else 0.0
