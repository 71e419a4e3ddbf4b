"""BLEU (Papineni et al., ACL 2002), over a corpus and without smoothing."""

import math
from collections import Counter
from collections.abc import Sequence

from hf_prompt_models.metrics.words import References, Tokenize, ngram_counts, tokenized_pairs, words


def bleu(
    predictions: Sequence[str], references: References, max_order: int = 4, tokenize: Tokenize = words
) -> list[float]:
    """Return corpus-level BLEU-1, …, BLEU-`max_order`, each from 0 to 1.

    The scores equal sacrebleu's corpus scores divided by 100, without smoothing and on the same tokens. If no n-gram
    of some order matches, BLEU of this order and of all higher orders is 0.

    Args:
        predictions: the generated texts.
        references: one or several reference texts for each prediction.
        max_order: length of the longest n-grams.
        tokenize: splits a text into tokens.

    Raises:
        ValueError: if references and predictions do not match in number.
    """
    matches, totals = [0] * max_order, [0] * max_order
    length = reference_length = 0
    for tokens, alternatives in tokenized_pairs(predictions, references, tokenize):
        length += len(tokens)
        # The reference closest in length counts; on a tie, the shorter one.
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
