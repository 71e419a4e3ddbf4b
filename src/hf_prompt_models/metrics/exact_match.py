"""Exact match of open-ended answers."""

from collections.abc import Callable, Sequence


def exact_match(
    predictions: Sequence[str],
    references: Sequence[str],
    eos_token: str | None = None,
    normalize: Callable[[str], str] = str.strip,
) -> float:
    """Return the share of predictions that equal their reference, from 0 to 1.

    Args:
        predictions: the text generated after the prompt. With `eos_token`, decoded with `skip_special_tokens=False`.
        references: the correct answer to each.
        eos_token: the text of the language model's end token. Text after the first one is ignored, and a prediction
            without one is wrong, because the model did not end its answer (as in Frozen, arXiv 2106.13884).
        normalize: applied to predictions and references before they are compared; `vqa.normalize_answer` for VQA.

    Raises:
        ValueError: if there is no prediction, or the number of references differs.
    """
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"Expected as many references as predictions, and at least one, got {len(predictions)} "
            f"predictions and {len(references)} references."
        )
    right = 0
    for prediction, reference in zip(predictions, references, strict=True):
        answer, ended = prediction, True
        if eos_token is not None:
            answer, found, _ = prediction.partition(eos_token)
            ended = bool(found)
        right += ended and normalize(answer) == normalize(reference)
    return right / len(predictions)
