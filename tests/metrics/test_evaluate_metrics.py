"""The metrics as modules of Evaluate: batches are gathered, and values equal those of the plain functions."""

from typing import Any

import evaluate
import pytest

from hf_prompt_models.metrics import load_metric
from hf_prompt_models.metrics.bleu import bleu
from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.classification import mean_average_precision, top_k_accuracy
from hf_prompt_models.metrics.evaluate_metrics import METRICS, ExactMatch, TextGeneration, VqaAccuracy
from hf_prompt_models.metrics.retrieval import retrieval
from hf_prompt_models.metrics.rouge import rouge_l
from hf_prompt_models.metrics.video_qa import answer_accuracy


PREDICTIONS = ["a red glass cup", "a blue bowl on a mat", "the green vase"]
REFERENCES = ["a red cup of glass", "a blue bowl on the mat", "a green vase"]


def test_text_generation_has_the_values_of_the_plain_functions() -> None:
    metric = TextGeneration()
    metric.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    metric.add_batch(predictions=PREDICTIONS[2:], references=REFERENCES[2:])
    scores = metric.compute()
    assert scores is not None
    assert [scores.pop(f"bleu_{order}") for order in (1, 2, 3, 4)] == bleu(PREDICTIONS, REFERENCES)
    assert scores == {
        "rouge_l": rouge_l(PREDICTIONS, REFERENCES),
        "cider_d": cider_d(PREDICTIONS, REFERENCES),
        "distinct_1": 11 / 13,
        "distinct_2": 10 / 10,
    }


def test_text_generation_takes_several_references_and_another_tokeniser() -> None:
    scores = TextGeneration().compute(predictions=["a.", "b"], references=[["a.", "c"], ["d"]], tokenize=str.split)
    assert scores is not None
    assert (scores["bleu_1"], scores["distinct_1"]) == (0.5, 1)
    one_word = TextGeneration().compute(predictions=["a.", "a"], references=[["a", "c"], ["d"]])
    assert one_word is not None
    assert one_word["distinct_1"] == 0.5


def test_answers_of_people_and_end_tokens() -> None:
    accuracy = VqaAccuracy().compute(predictions=["The cat", "no"], references=[["cat"] * 10, ["yes"] * 10])
    assert accuracy == {"vqa_accuracy": 0.5}
    strict = VqaAccuracy().compute(predictions=["The cat"], references=[["cat"] * 10], legacy_unanimous=True)
    assert strict == {"vqa_accuracy": 0}
    matches = ExactMatch().compute(predictions=["dax</s>", "dax"], references=["dax", "dax"], eos_token="</s>")
    assert matches == {"exact_match": 0.5}


SCORES = [[0.9, 0.1, 0.3], [0.2, 0.4, 0.8], [0.5, 0.6, 0.1]]


def compute(name: str, *batches: dict[str, Any], **settings: Any) -> dict[str, float]:
    """Return a metric's values after some batches."""
    metric = load_metric(name)
    for batch in batches:
        metric.add_batch(**batch)
    found = metric.compute(**settings)
    assert found is not None
    return found


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_loaded_by_its_name_and_reports_what_it_is(name: str) -> None:
    metric = load_metric(name)
    assert isinstance(metric, evaluate.Metric)
    assert metric.name == name
    assert "`" in metric.description


def test_a_name_that_is_no_metric_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"There is no metric 'bert_score'. Use one of accuracy, .*, retrieval\."):
        load_metric("bert_score")


def test_metrics_of_texts_load_one_by_one() -> None:
    texts = {"predictions": PREDICTIONS, "references": REFERENCES}
    together = compute("text_generation", texts)
    apart = {**compute("bleu", texts), **compute("rouge_l", texts), **compute("cider_d", texts)}
    assert together == apart | compute("distinct_n", {"predictions": PREDICTIONS})


def test_modules_combine() -> None:
    both = evaluate.combine([load_metric("rouge_l"), load_metric("cider_d")])
    expected = {"rouge_l": rouge_l(PREDICTIONS, REFERENCES), "cider_d": cider_d(PREDICTIONS, REFERENCES)}
    assert both.compute(predictions=PREDICTIONS, references=REFERENCES) == expected


def test_metrics_of_class_scores_have_the_values_of_the_plain_functions() -> None:
    batches = [{"predictions": SCORES[:2], "references": [0, 1]}, {"predictions": SCORES[2:], "references": [2]}]
    assert compute("top_k_accuracy", *batches, k=2) == {"top2_accuracy": top_k_accuracy(SCORES, [0, 1, 2], 2)}
    assert compute("top_k_accuracy", *batches) == {"top5_accuracy": 1}
    labels = [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    precision = compute("mean_average_precision", {"predictions": SCORES, "references": labels})
    assert precision == {"mean_average_precision": mean_average_precision(SCORES, labels)}


def test_retrieval_takes_one_right_candidate_or_several() -> None:
    batches = [{"predictions": SCORES[:2], "references": [0, 1]}, {"predictions": SCORES[2:], "references": [2]}]
    assert compute("retrieval", *batches) == retrieval(SCORES, [0, 1, 2])
    several = compute("retrieval", {"predictions": SCORES, "references": [[0], [1, 2], [0, 2]]})
    assert (several["recall_at_1"], several["mean_rank"]) == (pytest.approx(2 / 3), pytest.approx(4 / 3))


def test_answers_are_counted_by_kind_where_kinds_are_given() -> None:
    batch = {"predictions": ["key", "left"], "references": ["key", "right"]}
    assert compute("answer_accuracy", batch) == {"accuracy": 0.5}
    kinds = ["what", "where"]
    assert compute("answer_accuracy", batch, kinds=kinds) == answer_accuracy(**batch, kinds=kinds)
