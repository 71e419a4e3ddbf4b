"""Shared parts of the text metrics: words, n-grams, and pairs of predictions and references."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias


Tokenize: TypeAlias = Callable[[str], Sequence[str]]
"""A function that splits a text into tokens; `str.split` for texts that are tokenised already."""

References: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""One reference, or several, for each prediction."""

WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:[-'’]\w+)*")


def words(text: str) -> list[str]:
    """Return the lower-case words and numbers of a text, without punctuation.

    Hyphens and apostrophes within a word, and points and commas within a number, are kept. Published captioning
    results use the Penn Treebank tokeniser of COCO's evaluation, which splits `don't` and `t-shirt's`. Scores can
    therefore differ from published ones in the third digit.
    """
    return WORD.findall(text.lower())


def ngram_counts(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """Return how often each n-gram of `order` tokens occurs."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def tokenized_pairs(
    predictions: Sequence[str], references: References, tokenize: Tokenize
) -> list[tuple[Sequence[str], list[Sequence[str]]]]:
    """Return the tokens of each prediction and of its references.

    Raises:
        ValueError: if there is no prediction, the number of references differs, or a prediction has no reference.
    """
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError("Expected lists of texts, got a single text. Pass it in a list.")
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"Expected as many references as predictions, and at least one, got {len(predictions)} "
            f"predictions and {len(references)} references."
        )
    several = [[texts] if isinstance(texts, str) else list(texts) for texts in references]
    if empty := [place for place, texts in enumerate(several) if not texts]:
        raise ValueError(f"Prediction {empty[0]} has no reference.")
    return [
        (tokenize(prediction), [tokenize(text) for text in texts])
        for prediction, texts in zip(predictions, several, strict=True)
    ]


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
