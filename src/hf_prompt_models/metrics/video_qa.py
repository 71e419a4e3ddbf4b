"""Accuracy of answers to questions about videos, overall and by kind of question (MSRVTT-QA, MSVD-QA)."""

from collections.abc import Sequence


def answer_accuracy(
    predictions: Sequence[str], references: Sequence[str], kinds: Sequence[str] | None = None
) -> dict[str, float]:
    """Return `accuracy`, and `accuracy_<kind>` for each kind of question, from 0 to 1.

    An answer is correct if it equals the reference as a string.

    Args:
        predictions: one answer per question.
        references: the correct answer to each question.
        kinds: the kind of each question, such as what, who, how, where or when.

    Raises:
        ValueError: if there is no question, or lengths differ.
    """
    kinds = [""] * len(predictions) if kinds is None else kinds
    if not predictions or not len(predictions) == len(references) == len(kinds):
        raise ValueError(
            "Expected equal numbers of predictions, references and kinds, and at least one, got "
            f"{len(predictions)}, {len(references)} and {len(kinds)}."
        )
    right = [prediction == reference for prediction, reference in zip(predictions, references, strict=True)]
    accuracies = {"accuracy": sum(right) / len(right)}
    for kind in sorted(set(kinds) - {""}):
        of_kind = [is_right for is_right, its_kind in zip(right, kinds, strict=True) if its_kind == kind]
        accuracies[f"accuracy_{kind}"] = sum(of_kind) / len(of_kind)
    return accuracies
