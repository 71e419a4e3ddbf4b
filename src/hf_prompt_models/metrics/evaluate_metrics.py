"""The metrics as modules of 🤗 Evaluate, which collect batches with `add_batch` until `compute` is called.

Each module calls the plain functions of this package, as the commands do.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from hf_prompt_models.metrics.bleu import bleu
from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.classification import (
    accuracy,
    mean_average_precision,
    mean_class_accuracy,
    top_k_accuracy,
)
from hf_prompt_models.metrics.exact_match import exact_match
from hf_prompt_models.metrics.grounding import grounding_accuracy, proposal_oracle
from hf_prompt_models.metrics.guessing import TOP
from hf_prompt_models.metrics.relations import mean_predicate_recall, predicate_recall
from hf_prompt_models.metrics.retrieval import ranks_of_any, summarise_ranks
from hf_prompt_models.metrics.rouge import rouge_l
from hf_prompt_models.metrics.text_scores import text_scores
from hf_prompt_models.metrics.video_qa import answer_accuracy
from hf_prompt_models.metrics.vqa import vqa_accuracy
from hf_prompt_models.metrics.words import Tokenize, distinct_n, words


TEXT = datasets.Value("string")
INDEX = datasets.Value("int64")
SCORES = datasets.List(datasets.Value("float64"))
BOX = datasets.List(datasets.Value("float64"), length=4)
TRIPLES = datasets.List(datasets.List(INDEX, length=3))


class PackagedMetric(evaluate.Metric):
    """Base class of the metrics of this package. Its docstring is the description that Evaluate shows.

    Attributes:
        inputs: the columns of an example; a list holds the alternative forms that they may have.
    """

    inputs: ClassVar[Any]

    def _info(self) -> evaluate.MetricInfo:
        features = [datasets.Features(columns) for columns in self.inputs]
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description=f"Inputs: {', '.join(features[0])}.",
            features=features if len(features) > 1 else features[0],
        )


class Accuracy(PackagedMetric):
    """`accuracy` and `mean_class_accuracy` of class indices, from 0 to 1."""

    inputs = ({"predictions": INDEX, "references": INDEX},)

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {
            "accuracy": accuracy(predictions, references),
            "mean_class_accuracy": mean_class_accuracy(predictions, references),
        }


class TopKAccuracy(PackagedMetric):
    """`top5_accuracy`, or that of `compute(k=…)`, from 0 to 1: predictions are a score for each class."""

    inputs = ({"predictions": SCORES, "references": INDEX},)

    def _compute(self, predictions: Any, references: Any, k: int = TOP) -> dict[str, float]:
        return {f"top{k}_accuracy": top_k_accuracy(predictions, references, k)}


class MeanAveragePrecision(PackagedMetric):
    """`mean_average_precision` of several labels, from 0 to 1: a score, and 1 or 0, for each class."""

    inputs = ({"predictions": SCORES, "references": datasets.List(INDEX)},)

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"mean_average_precision": mean_average_precision(predictions, references)}


class TextMetric(PackagedMetric):
    """A metric of generated texts, each with one reference or a list of them. `compute(tokenize=…)` splits texts."""

    inputs = (
        {"predictions": TEXT, "references": datasets.List(TEXT)},
        {"predictions": TEXT, "references": TEXT},
    )


class Bleu(TextMetric):
    """`bleu_1` to `bleu_4` of generated texts, from 0 to 1, over the corpus and without smoothing."""

    def _compute(self, predictions: Any, references: Any, tokenize: Tokenize = words) -> dict[str, float]:
        scores = bleu(predictions, references, tokenize=tokenize)
        return {f"bleu_{order}": score for order, score in enumerate(scores, start=1)}


class RougeL(TextMetric):
    """`rouge_l` of generated texts, from 0 to 1: the F-measure of the longest common subsequence of words."""

    def _compute(self, predictions: Any, references: Any, tokenize: Tokenize = words) -> dict[str, float]:
        return {"rouge_l": rouge_l(predictions, references, tokenize=tokenize)}


class CiderD(TextMetric):
    """`cider_d` of generated texts, from 0 to 10. Rare n-grams weigh more, so a score depends on all references."""

    def _compute(self, predictions: Any, references: Any, tokenize: Tokenize = words) -> dict[str, float]:
        return {"cider_d": cider_d(predictions, references, tokenize)}


class DistinctN(PackagedMetric):
    """`distinct_1` and `distinct_2` of generated texts, from 0 to 1: the share of different n-grams."""

    inputs = ({"predictions": TEXT},)

    def _compute(self, predictions: Any, tokenize: Tokenize = words) -> dict[str, float]:
        return {f"distinct_{n}": distinct_n(predictions, n, tokenize) for n in (1, 2)}


class TextGeneration(TextMetric):
    """`bleu_1` to `bleu_4`, `rouge_l`, `cider_d`, `distinct_1` and `distinct_2` of generated texts."""

    def _compute(self, predictions: Any, references: Any, tokenize: Tokenize = words) -> dict[str, float]:
        return text_scores(predictions, references, tokenize)


class ExactMatch(PackagedMetric):
    """`exact_match` of answers, from 0 to 1.

    With `compute(eos_token=…)`, an answer without the end token is wrong, and text after the first one is ignored.
    """

    inputs = ({"predictions": TEXT, "references": TEXT},)

    def _compute(self, predictions: Any, references: Any, eos_token: str | None = None) -> dict[str, float]:
        return {"exact_match": exact_match(predictions, references, eos_token)}


class VqaAccuracy(PackagedMetric):
    """`vqa_accuracy`, from 0 to 1: agreement of an answer with those of ten people."""

    inputs = ({"predictions": TEXT, "references": datasets.List(TEXT)},)

    def _compute(self, predictions: Any, references: Any, legacy_unanimous: bool = False) -> dict[str, float]:
        return {"vqa_accuracy": vqa_accuracy(predictions, references, legacy_unanimous)}


class AnswerAccuracy(PackagedMetric):
    """`accuracy` of answers about videos, from 0 to 1, and that of each kind of question in `compute(kinds=[…])`."""

    inputs = ({"predictions": TEXT, "references": TEXT},)

    def _compute(self, predictions: Any, references: Any, kinds: Sequence[str] | None = None) -> dict[str, float]:
        return answer_accuracy(predictions, references, kinds)


class Retrieval(PackagedMetric):
    """`recall_at_1`, `recall_at_5` and `recall_at_10`, from 0 to 1; `median_rank` and `mean_rank`, from 1.

    A prediction is a query's scores of all candidates. A reference is the index of the correct candidate, or a list
    of several indices.
    """

    inputs = (
        {"predictions": SCORES, "references": INDEX},
        {"predictions": SCORES, "references": datasets.List(INDEX)},
    )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        scores = np.asarray(predictions)
        right = np.zeros(scores.shape, dtype=bool)
        for row, candidates in zip(right, references, strict=True):
            row[candidates] = True
        return summarise_ranks(ranks_of_any(scores, right))


class GroundingAccuracy(PackagedMetric):
    """`accuracy` of chosen regions and `proposal_oracle`, the best accuracy that a choice could reach, from 0 to 1.

    Predictions are indices into `proposals`, the candidate boxes of each phrase; references are the correct boxes.
    Boxes are x1, y1, x2, y2 in pixels, both corners included.
    """

    inputs = ({"predictions": INDEX, "proposals": datasets.List(BOX), "references": BOX},)

    def _compute(self, predictions: Any, proposals: Any, references: Any) -> dict[str, float]:
        chosen = [boxes[index] for boxes, index in zip(proposals, predictions, strict=True)]
        return {
            "accuracy": grounding_accuracy(chosen, references),
            "proposal_oracle": proposal_oracle(proposals, references),
        }


class PredicateRecall(PackagedMetric):
    """`R@k` and `mR@k` of relations, from 0 to 1, for k of 20, 50 and 100 or those of `compute(k=[…])`.

    Predictions are the (subject, object, predicate) triples of an image, the most likely first; references are the
    annotated triples.
    """

    inputs = ({"predictions": TRIPLES, "references": TRIPLES},)

    def _compute(self, predictions: Any, references: Any, k: Sequence[int] = (20, 50, 100)) -> dict[str, float]:
        recall = {f"R@{each}": predicate_recall(predictions, references, each) for each in k}
        return recall | {f"mR@{each}": mean_predicate_recall(predictions, references, each) for each in k}


METRICS: dict[str, type[PackagedMetric]] = {
    "accuracy": Accuracy,
    "top_k_accuracy": TopKAccuracy,
    "mean_average_precision": MeanAveragePrecision,
    "grounding_accuracy": GroundingAccuracy,
    "predicate_recall": PredicateRecall,
    "text_generation": TextGeneration,
    "bleu": Bleu,
    "rouge_l": RougeL,
    "cider_d": CiderD,
    "distinct_n": DistinctN,
    "exact_match": ExactMatch,
    "vqa_accuracy": VqaAccuracy,
    "answer_accuracy": AnswerAccuracy,
    "retrieval": Retrieval,
}


def load_metric(name: str, **settings: Any) -> evaluate.Metric:
    """Return a metric as a module of 🤗 Evaluate. Nothing is downloaded.

    Args:
        name: the metric, such as "accuracy", "cider_d" or "retrieval". The page "Metrics" lists all names.
        settings: keyword arguments of `evaluate.Metric`, such as `num_process`, `process_id` and `experiment_id` for
            several processes.

    Raises:
        ValueError: if there is no metric of this name.

    Example:
        ```python
        >>> from hf_prompt_models.metrics import load_metric
        >>> metric = load_metric("accuracy")
        >>> metric.add_batch(predictions=[0, 1], references=[0, 1])
        >>> metric.add_batch(predictions=[1, 1], references=[1, 0])
        >>> metric.compute()["accuracy"]
        0.75

        ```
    """
    if name not in METRICS:
        raise ValueError(f"There is no metric {name!r}. Use one of {', '.join(METRICS)}.")
    return METRICS[name](**settings)
