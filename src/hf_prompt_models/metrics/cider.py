"""CIDEr-D (Vedantam et al., CVPR 2015, §7): n-gram agreement, with rare n-grams weighted higher."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from hf_prompt_models.metrics.words import References, Tokenize, ngram_counts, tokenized_pairs, words


MAX_ORDER = 4
LENGTH_DEVIATION = 6.0
SCALE = 10.0


def cider_d(predictions: Sequence[str], references: References, tokenize: Tokenize = words) -> float:
    """Return the mean of `cider_d_scores`, from 0 to 10.

    Papers report it times 100: 1.16 is printed as 116. Arguments and errors are those of `cider_d_scores`.
    """
    scores = cider_d_scores(predictions, references, tokenize)
    return sum(scores) / len(scores)


def cider_d_scores(predictions: Sequence[str], references: References, tokenize: Tokenize = words) -> list[float]:
    """Return the CIDEr-D score of each prediction, from 0 to 10.

    The fewer predictions have an n-gram in their references, the more it counts; an n-gram that occurs in the
    references of all predictions counts nothing. The scores therefore depend on the complete set, and a single
    prediction has score 0. Words are not stemmed, as in COCO's evaluation.

    Args:
        predictions: the generated texts.
        references: one or several reference texts for each prediction.
        tokenize: splits a text into tokens.

    Raises:
        ValueError: if references and predictions do not match in number.
    """
    pairs = tokenized_pairs(predictions, references, tokenize)
    documents: Counter[tuple[str, ...]] = Counter()
    for _, alternatives in pairs:
        documents.update({ngram for tokens in alternatives for ngram in _counts(tokens)})
    rarity = _Rarity(documents, math.log(len(pairs)))
    scores = []
    for tokens, alternatives in pairs:
        vector = rarity.vector(tokens)
        similarities = [_similarity(vector, rarity.vector(other)) for other in alternatives]
        scores.append(SCALE * sum(similarities) / len(similarities))
    return scores


class _Vector(NamedTuple):
    """A text as the weights of its n-grams, by order, and its number of words."""

    weights: list[dict[tuple[str, ...], float]]
    length: int


class _Rarity(NamedTuple):
    """For each n-gram, the number of predictions in whose references it occurs; and the log of all predictions."""

    documents: Counter[tuple[str, ...]]
    log_total: float

    def vector(self, tokens: Sequence[str]) -> _Vector:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_ORDER)]
        for ngram, count in _counts(tokens).items():
            # An n-gram that occurs in no reference is weighted as if it occurred in one.
            weights[len(ngram) - 1][ngram] = count * (self.log_total - math.log(max(1, self.documents[ngram])))
        return _Vector(weights, len(tokens))


def _counts(tokens: Sequence[str]) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for order in range(1, MAX_ORDER + 1):
        counts.update(ngram_counts(tokens, order))
    return counts


def _similarity(prediction: _Vector, reference: _Vector) -> float:
    """Return the mean cosine over the orders, with repeated n-grams clipped, times a length penalty."""
    cosines = []
    for written, wanted in zip(prediction.weights, reference.weights, strict=True):
        norms = math.hypot(*written.values()) * math.hypot(*wanted.values())
        product = sum(
            min(weight, wanted[ngram]) * wanted[ngram] for ngram, weight in written.items() if ngram in wanted
        )
        cosines.append(product / norms if norms else 0.0)
    penalty = math.exp(-((prediction.length - reference.length) ** 2) / (2 * LENGTH_DEVIATION**2))
    return penalty * sum(cosines) / MAX_ORDER
