"""Exact match of open-ended answers."""

from collections.abc import Callable, Sequence


def exact_match(
    predictions: Sequence[str],
    references: Sequence[str],
    eos_token: str | None = None,
    normalize: Callable[[str], str] = str.strip,
) -> float:
    """Share of predictions that are the reference, from 0 to 1.

    Args:
        predictions: what was written after the prompt. With `eos_token`, decoded with `skip_special_tokens=False`.
        references: the right answer to each.
        eos_token: the text of the language model's end token. What follows the first is not read, and a prediction
            without one is wrong: the model did not know where the answer ends (Frozen, arXiv 2106.13884, counts so).
        normalize: applied to both sides before they are compared; `vqa.normalize_answer` for VQA.

    Raises:
        ValueError: if there is no prediction, or references are not as many.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"Pass as many references as predictions, and some: {len(predictions)} predictions, "
            f"{len(references)} references."
        )
    right = 0
    for prediction, reference in zip(predictions, references, strict=True):
        answer, ended = prediction, True
        if eos_token is not None:
            answer, found, _ = prediction.partition(eos_token)
            ended = bool(found)
        right += ended and normalize(answer) == normalize(reference)
    return right / len(predictions)
