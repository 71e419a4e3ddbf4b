"""The metrics as `evaluate.Metric` objects, for code that accumulates batches with `add_batch` and `compute`."""

from typing import Any

import datasets
import evaluate

from hf_prompt_models.metrics.classification import accuracy, mean_class_accuracy


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
