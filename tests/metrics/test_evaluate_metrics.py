"""The `evaluate.Metric` wrappers of text metrics: batches gather, values are the plain functions'."""

from hf_prompt_models.metrics.bleu import bleu
from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.evaluate_metrics import ExactMatch, TextGeneration, VqaAccuracy
from hf_prompt_models.metrics.rouge import rouge_l


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
