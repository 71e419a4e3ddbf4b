"""BLEU (Papineni et al., ACL 2002), over a corpus and without smoothing."""

import math
from collections import Counter
from collections.abc import Sequence

from hf_prompt_models.metrics.words import References, Tokenize, ngram_counts, tokenized_pairs, words


def bleu(
    predictions: Sequence[str], references: References, max_order: int = 4, tokenize: Tokenize = words
) -> list[float]:
    """BLEU-1, …, BLEU-`max_order` of all predictions together, each from 0 to 1.

    Equal to sacrebleu's corpus score over 100, without smoothing, on the same tokens. An order of which nothing
    matches makes BLEU of this and of higher orders 0.

    Args:
        predictions: the written texts.
        references: one or several for each.
        max_order: length of the longest n-grams.
        tokenize: makes tokens of a text.

    Raises:
        ValueError: if references and predictions do not fit together.
    """
    matches, totals = [0] * max_order, [0] * max_order
    length = reference_length = 0
    for tokens, alternatives in tokenized_pairs(predictions, references, tokenize):
        length += len(tokens)
        # The closest length counts, of two as close the shorter.
        reference_length += min(map(len, alternatives), key=lambda other: (abs(other - len(tokens)), other))
        for order in range(1, max_order + 1):
            counts = ngram_counts(tokens, order)
            most: Counter[tuple[str, ...]] = Counter()
            for alternative in alternatives:
                most |= ngram_counts(alternative, order)
            matches[order - 1] += (counts & most).total()
            totals[order - 1] += counts.total()
    brevity_penalty = math.exp(min(0.0, 1 - reference_length / length)) if length else 0.0
    scores = []
    for order in range(1, max_order + 1):
        if 0 in matches[:order]:
            scores.append(0.0)
            continue
        logs = [math.log(match / total) for match, total in zip(matches[:order], totals[:order], strict=True)]
        scores.append(brevity_penalty * math.exp(sum(logs) / order))
    return scores
