"""The metrics as `evaluate.Metric` objects, for code that accumulates batches with `add_batch` and `compute`."""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_prompt_models.metrics.bleu import bleu
from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.classification import accuracy, mean_class_accuracy
from hf_prompt_models.metrics.diversity import distinct_n
from hf_prompt_models.metrics.exact_match import exact_match
from hf_prompt_models.metrics.grounding import grounding_accuracy, proposal_oracle
from hf_prompt_models.metrics.relations import mean_predicate_recall, predicate_recall
from hf_prompt_models.metrics.rouge import rouge_l
from hf_prompt_models.metrics.vqa import vqa_accuracy
from hf_prompt_models.metrics.words import Tokenize, words


TEXT = datasets.Value("string")


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


class TextGeneration(evaluate.Metric):
    """`bleu_1` … `bleu_4`, `rouge_l`, `cider_d`, `distinct_1` and `distinct_2` of written texts.

    Works offline: `TextGeneration().compute(predictions=texts, references=lists_of_texts)`. `compute(tokenize=…)`
    takes another tokeniser than `words`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Agreement of written texts with references, and their variety.",
            citation="",
            inputs_description="predictions: texts; references: one text or a list of texts for each",
            features=[
                datasets.Features({"predictions": TEXT, "references": datasets.List(TEXT)}),
                datasets.Features({"predictions": TEXT, "references": TEXT}),
            ],
        )

    def _compute(self, predictions: Any, references: Any, tokenize: Tokenize = words) -> dict[str, float]:
        scores = bleu(predictions, references, tokenize=tokenize)
        return {f"bleu_{order}": score for order, score in enumerate(scores, start=1)} | {
            "rouge_l": rouge_l(predictions, references, tokenize=tokenize),
            "cider_d": cider_d(predictions, references, tokenize),
            "distinct_1": distinct_n(predictions, 1, tokenize),
            "distinct_2": distinct_n(predictions, 2, tokenize),
        }


class VqaAccuracy(evaluate.Metric):
    """`vqa_accuracy` of answers. Works offline: `VqaAccuracy().compute(predictions=…, references=…)`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Agreement of answers with those of ten people.",
            citation="",
            inputs_description="predictions: answers; references: a list of people's answers for each",
            features=datasets.Features({"predictions": TEXT, "references": datasets.List(TEXT)}),
        )

    def _compute(self, predictions: Any, references: Any, legacy_unanimous: bool = False) -> dict[str, float]:
        return {"vqa_accuracy": vqa_accuracy(predictions, references, legacy_unanimous)}


class ExactMatch(evaluate.Metric):
    """`exact_match` of answers. Works offline: `ExactMatch().compute(predictions=…, references=…, eos_token=…)`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of answers that are the reference, the end token included.",
            citation="",
            inputs_description="predictions, references: texts",
            features=datasets.Features({"predictions": TEXT, "references": TEXT}),
        )

    def _compute(self, predictions: Any, references: Any, eos_token: str | None = None) -> dict[str, float]:
        return {"exact_match": exact_match(predictions, references, eos_token)}


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
