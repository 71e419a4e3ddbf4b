"""ROUGE-L (Lin, 2004): the longest common subsequence of words."""

from collections.abc import Sequence

from hf_prompt_models.metrics.words import References, Tokenize, tokenized_pairs, words


def rouge_l(
    predictions: Sequence[str], references: References, beta: float = 1.0, tokenize: Tokenize = words
) -> float:
    """Return ROUGE-L against the best-matching reference, averaged over the predictions, from 0 to 1.

    The score equals rouge-score's `rougeL` F-measure on the same tokens.

    Args:
        predictions: the generated texts.
        references: one or several reference texts for each prediction.
        beta: weight of recall over precision. COCO's captioning evaluation uses 1.2.
        tokenize: splits a text into tokens.

    Raises:
        ValueError: if references and predictions do not match in number.
    """
    pairs = tokenized_pairs(predictions, references, tokenize)
    best = [max(_f_measure(tokens, other, beta) for other in alternatives) for tokens, alternatives in pairs]
    return sum(best) / len(best)


def _f_measure(prediction: Sequence[str], reference: Sequence[str], beta: float) -> float:
    common = _longest_common_subsequence(prediction, reference)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def _longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return its length; `row[i]` is for the first `i` tokens of `second` and the tokens of `first` so far."""
    row = [0] * (len(second) + 1)
    for token in first:
        above = row
        row = [0]
        for place, other in enumerate(second):
            row.append(above[place] + 1 if token == other else max(above[place + 1], row[place]))
    return row[-1]
