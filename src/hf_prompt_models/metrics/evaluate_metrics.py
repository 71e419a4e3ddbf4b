"""The metrics as `evaluate.Metric` objects, for code that accumulates batches with `add_batch` and `compute`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_prompt_models.metrics.classification import accuracy, mean_class_accuracy
from hf_prompt_models.metrics.grounding import grounding_accuracy, proposal_oracle
from hf_prompt_models.metrics.relations import mean_predicate_recall, predicate_recall


class Accuracy(evaluate.Metric):
    """`accuracy` and `mean_class_accuracy` of class indices. Works offline: `Accuracy().compute(...)`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of right predictions, over all examples and as the mean over classes.",
            citation="",
            inputs_description="predictions, references: class indices",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {
            "accuracy": accuracy(predictions, references),
            "mean_class_accuracy": mean_class_accuracy(predictions, references),
        }


class GroundingAccuracy(evaluate.Metric):
    """`accuracy` of chosen regions, and `proposal_oracle`, what the best choice among them would reach."""

    def _info(self) -> evaluate.MetricInfo:
        box = datasets.Sequence(datasets.Value("float64"), length=4)
        return evaluate.MetricInfo(
            description="Share of phrases whose chosen region overlaps the right one by more than 0.5.",
            citation="",
            inputs_description="predictions: indices of proposals; proposals: boxes; references: the right boxes",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "proposals": datasets.Sequence(box), "references": box}
            ),
        )

    def _compute(self, predictions: Any, proposals: Any, references: Any) -> dict[str, float]:
        chosen = [boxes[index] for boxes, index in zip(proposals, predictions, strict=True)]
        return {
            "accuracy": grounding_accuracy(chosen, references),
            "proposal_oracle": proposal_oracle(proposals, references),
        }


class PredicateRecall(evaluate.Metric):
    """`R@k` and `mR@k` of relations, for k of 20, 50 and 100 or those passed to `compute(k=[...])`."""

    def _info(self) -> evaluate.MetricInfo:
        triples = datasets.Sequence(datasets.Sequence(datasets.Value("int64"), length=3))
        return evaluate.MetricInfo(
            description="Share of the relations of a picture that are among the k likeliest.",
            citation="",
            inputs_description="predictions, the likeliest first, and references: (subject, object, predicate)",
            features=datasets.Features({"predictions": triples, "references": triples}),
        )

    def _compute(self, predictions: Any, references: Any, k: Sequence[int] = (20, 50, 100)) -> dict[str, float]:
        recall = {f"R@{each}": predicate_recall(predictions, references, each) for each in k}
        return recall | {f"mR@{each}": mean_predicate_recall(predictions, references, each) for each in k}
