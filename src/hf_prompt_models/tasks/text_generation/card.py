"""Results of a run that generates text, for model cards."""

from typing import Any

from hf_prompt_models.hub.model_card import RUN_TITLE, RunOnCard, one_line
from hf_prompt_models.tasks.cards import Metric, Scores, TestedOn, backbone_title, dataset_type, facts, hub_id


METRICS = {
    **{f"bleu_{order}": Metric(f"BLEU-{order}", "bleu", ".4f") for order in range(1, 5)},
    "rouge_l": Metric("ROUGE-L", "rouge", ".4f"),
    "cider_d": Metric("CIDEr-D", "cider", ".4f"),
    "distinct_1": Metric("Distinct-1", "distinct", ".4f"),
    "distinct_2": Metric("Distinct-2", "distinct", ".4f"),
    "exact_match": Metric("Exact-match accuracy", "exact_match"),
    "vqa_accuracy": Metric("VQA accuracy", "accuracy"),
}
PROTOCOLS = {
    "exact_match": (
        "few-shot episodes, examples and then a question: an answer is correct if the model generates it and "
        "nothing else"
    ),
    "vqa_accuracy": (
        "questions, preceded by the number of examples in the settings; an answer counts by how many of ten "
        "annotators gave it"
    ),
    "cider_d": "a text is generated for each held-out example and compared with its references",
}


def generation_on_card(results: dict[str, Any], task: str, seed: str) -> RunOnCard:
    """Return the part of a seed's model card that describes the run.

    Args:
        results: Content of `results.json`.
        task: Task of the model-index.
        seed: Seed of the model.
    """
    data, tested = results["data"], results["seeds"][seed]["test"]
    held_out = data["validation_examples"]
    test_is_held_out = data.get("held_out", False)
    test_name = f"{data['test_name']}, held out of the training data" if test_is_held_out else data["test_name"]
    own = {
        "Language model": backbone_title(results["backbone"]),
        "Vision model": backbone_title(results["vision_model"]),
        "LoRA": _settings(results.get("lora", {})),
        "Trained on": f"{data['train_examples']} examples"
        + (f"; of these, {held_out} were held out" if held_out else ""),
        "Tested on": f"{data['test_examples']} examples: {one_line(test_name)}",
        "Protocol": next(text for name, text in PROTOCOLS.items() if name in tested),
        "Decoding": _settings(results["decoding"]),
        "Constant answer": _constant(results.get("most_frequent_answer")),
        "Blind baseline": _blind(results, seed),
    }
    scores = Scores(
        "Test",
        {name: metric for name, metric in METRICS.items() if name in tested},
        {each: one["test"] for each, one in results["seeds"].items()},
        blind={each: one["blind"]["test"] for each, one in results["seeds"].items() if "blind" in one},
    )
    source = data["train"] if test_is_held_out else data["test"]
    tested_on = TestedOn(
        task,
        dataset_type(source, data["test_name"]),
        one_line(data["test_name"]),
        dataset_split="held-out" if test_is_held_out else "test",
    )
    learned_from = hub_id(data["train"])
    return RunOnCard(
        text="\n\n".join([RUN_TITLE, facts(results, seed, own), scores.table(seed)]),
        eval_results=scores.results(tested_on, seed),
        datasets=[learned_from] if learned_from else [],
        base_model=hub_id(results["backbone"]),
    )


def _constant(constant: dict[str, Any] | None) -> str:
    if constant is None:
        return ""
    return f"{one_line(repr(constant['answer']))} for all questions reaches " + _scores(constant["test"])


def _blind(results: dict[str, Any], seed: str) -> str:
    """Return the description of the rows with black images, or an empty string without such rows."""
    blind, total = results["seeds"][seed].get("blind"), results["data"]["test_examples"]
    if blind is None:
        return ""
    text = "the same checkpoint with black images instead of the test images"
    if blind["examples"] == total:
        return f"{text}, on all {total} test examples"
    return (
        f"{text}, on {blind['examples']} of the {total} test examples; with the real images, these reach "
        + _scores(blind["seeing"])
    )


def _scores(values: dict[str, float]) -> str:
    return ", ".join(f"{METRICS[name].title} {value:{METRICS[name].form}}" for name, value in values.items())


def _settings(values: dict[str, Any]) -> str:
    return f"`{', '.join(f'{name}={one_line(str(value))}' for name, value in values.items())}`" if values else ""
