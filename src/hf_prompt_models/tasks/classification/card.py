"""Results of a classifier or of visual grounding, for model cards."""

from typing import Any

from huggingface_hub import EvalResult

from hf_prompt_models.hub.model_card import (
    RUN_TITLE,
    RunOnCard,
    one_line,
)
from hf_prompt_models.tasks.cards import (
    Metric,
    TestedOn,
    backbone_title,
    dataset_type,
    facts,
    hub_id,
    markdown,
    seed_title,
)
from hf_prompt_models.tasks.classification.summary import guesses, shown_metrics


METRICS = {
    "accuracy": Metric("Accuracy", "accuracy"),
    "mean_class_accuracy": Metric("Mean accuracy of the classes", "mean_class_accuracy"),
    "mean_average_precision": Metric("Mean average precision", "mean_average_precision"),
    "top5_accuracy": Metric("Top-5 accuracy", "top5_accuracy"),
}
PROTOCOLS = {
    "few-shot": "trained and tested on the same classes",
    "base-to-new": "trained on the first half of the classes; each half is tested separately",
    "cross-dataset": "trained on one dataset, and tested on others with classes that were not used in training",
}
GROUNDING_PROTOCOL = "trained on expressions of the training set, tested on all expressions of the test set"


def run_on_card(results: dict[str, Any], task: str, seed: str) -> RunOnCard:
    """Return the part of a seed's model card that describes the run of a classifier or of visual grounding.

    Args:
        results: Content of `results.json`.
        task: Task of the model-index.
        seed: Seed of the model.
    """
    unit = results.get("kind", "expression")  # an earlier version wrote none for grounding
    grounds, shots = unit == "expression", results["shots"]
    of = "" if grounds else " per class"
    protocol = PROTOCOLS[results["protocol"]]
    own = {
        "Backbone": backbone_title(results["backbone"]),
        "Protocol": GROUNDING_PROTOCOL if grounds else f"{results['protocol']}, {protocol}",
        "Trained on": f"{shots} {unit}{'s' * (shots > 1)}{of}, sampled with the seed" if shots else f"all {unit}s",
        "Tested on": "; ".join(_tested_on(role, test, unit) for role, test in results["tests"].items()),
    }
    data = hub_id(results["data"]["train"])
    return RunOnCard(
        text="\n\n".join([RUN_TITLE, facts(results, seed, own), *_tables(results, seed)]),
        eval_results=_eval_results(results, task, seed),
        datasets=[data] if data else [],
        base_model=hub_id(results["backbone"]),
    )


def _tables(results: dict[str, Any], seed: str) -> list[str]:
    """Return a table for each metric, with a column for each test set."""
    tests = results["tests"]
    tables = []
    for metric in _metrics(results):
        of_metric = {role: test for role, test in tests.items() if metric in shown_metrics(test)}
        rows: dict[str, dict[str, float]] = {**guesses(of_metric, metric)}
        rows["zero-shot"] = {role: test["zero_shot"][metric] for role, test in of_metric.items()}
        for each, run in results["seeds"].items():
            rows[seed_title(each, seed)] = {role: run["tests"][role][metric] for role in of_metric}
        table = {
            name: [f"{row[role]:.2%}" if role in row else "–" for role in of_metric] for name, row in rows.items()
        }
        if len(results["seeds"]) > 1:
            table["mean ± standard deviation"] = [
                f"{test[metric]['mean']:.2%} ± {test[metric]['std']:.2%}" for test in of_metric.values()
            ]
        head = [METRICS[metric].title, *(_test_title(role, test) for role, test in of_metric.items())]
        tables.append(markdown(head, [[name, *cells] for name, cells in table.items()]))
    if "harmonic_mean" in results:
        hand_written, learned = (f"{results['harmonic_mean'][name]:.2%}" for name in ("zero_shot", "learned"))
        tables.append(f"Harmonic mean of both accuracies: zero-shot {hand_written}, trained {learned}.")
    return tables


def _eval_results(results: dict[str, Any], task: str, seed: str) -> list[EvalResult]:
    """Return the metrics of this checkpoint, then those of the other seeds, then their means."""
    found = []
    for role, test in results["tests"].items():
        tested_on = TestedOn(
            task_type=task,
            dataset_type=dataset_type(test["source"], test["title"]),
            dataset_name=f"{test['title']}{'' if role in ('test', test['title']) else f' ({role})'}",
            dataset_config=None
            if len(results["tests"]) == 1
            else role,  # otherwise the test sets would be taken for one
        )
        for metric in (name for name in METRICS if name in shown_metrics(test)):
            by_seed = {each: run["tests"][role][metric] for each, run in results["seeds"].items()}
            found += tested_on.results(METRICS[metric], by_seed, seed)
    return found


def _metrics(results: dict[str, Any]) -> list[str]:
    """Return the metrics that are shown for any test set."""
    names = {name for test in results["tests"].values() for name in shown_metrics(test)}
    return [name for name in METRICS if name in names]


def _tested_on(role: str, test: dict[str, Any], unit: str) -> str:
    """Return the title of a test set, with its numbers of examples and classes if the results have them."""
    counted = [f"{test[f'test_{unit}s']} {unit}s"] if f"test_{unit}s" in test else []
    counted += [f"{test['classes']} classes"] if test.get("classes") else []
    text = " of ".join(counted)
    if oracle := test["zero_shot"].get("proposal_oracle"):
        text += f", of which {oracle:.2%} have a right candidate region"
    return f"{_test_title(role, test)}: {text}" if text else _test_title(role, test)


def _test_title(role: str, test: dict[str, Any]) -> str:
    return one_line(test["title"] if role in ("test", test["title"]) else f"{role}, {test['title']}")
