"""Results of a run with videos and texts, for model cards."""

from typing import Any

from hf_prompt_models.hub.model_card import RUN_TITLE, RunOnCard, one_line
from hf_prompt_models.tasks.cards import Metric, Scores, TestedOn, backbone_title, dataset_type, facts, hub_id


DIRECTIONS = {"text_to_video": "text to video", "video_to_text": "video to text", "contrast": "features alone"}
RANKS = {
    **{f"recall_at_{k}": Metric(f"R@{k}", f"recall_at_{k}") for k in (1, 5, 10)},
    "median_rank": Metric("Median rank", "median_rank", ".1f"),
    "mean_rank": Metric("Mean rank", "mean_rank", ".1f"),
}
ACCURACY = Metric("Accuracy", "accuracy")
MAX_KINDS = 20
"""Maximum number of question kinds that a card lists separately."""


def video_texts_on_card(results: dict[str, Any], task: str, seed: str) -> RunOnCard:
    """Return the part of a seed's model card that describes the run.

    Args:
        results: Content of `results.json`.
        task: Task of the model-index.
        seed: Seed of the model.
    """
    data, asks = results["data"], "answers" in results
    unit = "questions" if asks else "texts"
    own = {
        "Task": results["task"],
        "Initialized from": _began_from(results["backbone"]),
        "Trained on": f"{data['train_texts']} {unit}"
        + (f", of which {results['left_out']} have answers that are not in the list" if asks else ""),
        "Tested on": f"{data['test_texts']} {unit} on {data['test_videos']} videos: {one_line(data['test_name'])}",
        "Skipped": f"{len(data['skipped'])} videos that cannot be read" if data["skipped"] else "",
        "Protocol": _answering(results, seed) if asks else _searching(results),
    }
    tested_on = TestedOn(task, dataset_type(data["test"], data["test_name"]), one_line(data["test_name"]))
    scores = _answered(results) if asks else _retrieved(results)
    return RunOnCard(
        text="\n\n".join([RUN_TITLE, facts(results, seed, own), *(each.table(seed) for each in scores.values())]),
        eval_results=[
            line for end, each in scores.items() if end != "losses" for line in each.results(tested_on, seed, end)
        ],
        datasets=[],  # lists of videos are files, not Hub datasets
        base_model=_base_models(results["backbone"]),
    )


def _answering(results: dict[str, Any], seed: str) -> str:
    return (
        f"the model chooses one of {results['answers']} answers; the right answers of "
        f"{results['seeds'][seed]['outside']} test questions are not among them and count as wrong. Choosing the most "
        f"frequent answer to the same question without the videos reaches {results['answer_prior']:.2%}"
    )


def _searching(results: dict[str, Any]) -> str:
    texts = "each text is searched for among all test videos, and each video among all test texts"
    if results["task"] == "prompter":
        return f"{texts}, by their features"
    count = results["arguments"]["rerank"]
    read = f"the {count} closest candidates by features are" if count else "all candidates are"
    return f"{texts}; {read} scored together with the query"


def _answered(results: dict[str, Any]) -> dict[str, Scores]:
    kinds = list(next(iter(results["seeds"].values()))["by_kind"])[:MAX_KINDS]
    metrics = {"accuracy": ACCURACY} | {kind: Metric(one_line(f"Accuracy, {kind}"), "accuracy") for kind in kinds}

    def values(one: dict[str, Any]) -> dict[str, float]:
        return one["by_kind"] | {"accuracy": one["accuracy"]}

    seeds = {each: values(one) for each, one in results["seeds"].items()}
    before = {each: values(one["before"]) for each, one in results["seeds"].items()}
    return {"": Scores("Answers", metrics, seeds, before)}


def _retrieved(results: dict[str, Any]) -> dict[str, Scores]:
    """Return the scores, keyed by the suffix of the metrics' titles in a model-index."""
    seeds, chances = results["seeds"], dict(results.get("chance", {}))
    chances["contrast"] = chances.get("text_to_video", {})

    def of(name: str, title: str, metrics: dict[str, Metric]) -> Scores:
        before = {each: one["before"][name] for each, one in seeds.items()}
        values = {each: one[name] for each, one in seeds.items()}
        return Scores(title, metrics, values, before, chance=chances.get(name, {}))

    scores = {f", {title}": of(name, title.capitalize(), RANKS) for name, title in DIRECTIONS.items()}
    losses = next(iter(seeds.values())).get("losses")
    if losses:
        scores["losses"] = of("losses", "Held-out losses", {name: Metric(name, name, ".3f") for name in losses})
    return scores


def _began_from(backbone: str) -> str:
    return (
        "a new small model"
        if backbone == "new"
        else " + ".join(backbone_title(part) for part in backbone.split(" + "))
    )


def _base_models(backbone: str) -> str | list[str] | None:
    """Return the Hub ids of the models that training started from."""
    if backbone == "new":
        return None
    found = [name for name in map(hub_id, backbone.split(" + ")) if name]
    return found if len(found) > 1 else (found[0] if found else None)
