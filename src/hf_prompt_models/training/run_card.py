"""What a run's `results.json` says on its models' cards."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import TrainingArguments

from hf_prompt_models.hub.model_card import (
    CARD_FILE,
    PLACEHOLDER_ID,
    RUN_TITLE,
    Checkpoint,
    RunOnCard,
    is_generated,
    make_card,
    one_line,
    read_card,
    write_card,
)


METRIC_NAMES = {
    "accuracy": "Accuracy",
    "mean_class_accuracy": "Mean accuracy of the classes",
    "mean_average_precision": "Mean average precision",
    "top5_accuracy": "Top-5 accuracy",
}
PROTOCOLS = {
    "few-shot": "trained and tested on the same classes",
    "base-to-new": "trained on the first half of the classes; both halves are tested, each within itself",
    "cross-dataset": "trained on one data set, and tested on others whose classes were never seen",
}


def write_cards(results: dict[str, Any], task: str, checkpoints: Mapping[str, Checkpoint]) -> None:
    """Write `README.md` beside the models of a run; one that somebody has written or changed stays as it is.

    Args:
        results: as `results.json` holds them.
        task: the recipe's.
        checkpoints: by seed.
    """
    for seed, checkpoint in checkpoints.items():
        file = Path(results["seeds"][seed]["model"], CARD_FILE)
        card = read_card(file)
        if card is None or is_generated(card):
            write_card(make_card(checkpoint, PLACEHOLDER_ID, run_on_card(results, task, seed)), file)


def check_publishing(model: Any, training: TrainingArguments) -> None:
    """Refuse, before training, what could not be pushed after it.

    Raises:
        ValueError: if the checkpoint would name a backbone that others do not have.
    """
    if not training.push_to_hub:
        return
    try:
        model.check_push()
    except ValueError as error:
        raise ValueError(
            f"--push_to_hub: {error} Here: give --backbone its Hub id, or train without --push_to_hub and push the "
            "model from its folder."
        ) from error


def run_on_card(results: dict[str, Any], task: str, seed: str) -> RunOnCard:
    """What a run says of the model of one seed."""
    return RunOnCard(
        text="\n\n".join([RUN_TITLE, _protocol(results, seed), *_tables(results, seed)]),
        eval_results=_eval_results(results, task, seed),
        datasets=[name for name in [_hub_id(results["data"]["train"])] if name],
        base_model=_hub_id(results["backbone"]),
    )


def _protocol(results: dict[str, Any], seed: str) -> str:
    unit = results.get("kind", "expression")  # grounding draws expressions
    of = "" if unit == "expression" else " of each class"
    shots = f"{results['shots']} {unit}s{of}, drawn by the seed" if results["shots"] else f"all {unit}s"
    seeds = ", ".join(results["seeds"])
    settings = [f"{name}={one_line(str(value))}" for name, value in results["arguments"].items() if _is_plain(value)]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"- **Method**: {results['method']}, on {one_line(results['data']['name'])}",
        f"- **Protocol**: {results['protocol']}, {PROTOCOLS[results['protocol']]}",
        f"- **Trained on**: {shots}",
        f"- **Seeds**: {seeds}; this checkpoint is of seed {seed}, after {results['seeds'][seed]['steps']} steps",
        *([f"- **Settings**: `{', '.join(settings)}`"] if settings else []),
        f"- **Versions**: {versions}",
    ]
    return "\n".join(lines)


def _tables(results: dict[str, Any], seed: str) -> list[str]:
    """One for each metric; a column for each test set."""
    tests = results["tests"]
    tables = []
    for metric in _metrics(results):
        rows = {"zero-shot": {role: test["zero_shot"][metric] for role, test in tests.items()}}
        for each, run in results["seeds"].items():
            mark = " (this checkpoint)" if each == seed else ""
            rows[f"seed {each}{mark}"] = {role: run["tests"][role][metric] for role in tests}
        table = {name: [f"{value:.2%}" for value in row.values()] for name, row in rows.items()}
        if len(results["seeds"]) > 1:
            table["mean ± standard deviation"] = [
                f"{test[metric]['mean']:.2%} ± {test[metric]['std']:.2%}" for test in tests.values()
            ]
        head = [METRIC_NAMES[metric], *(_test_title(role, test) for role, test in tests.items())]
        lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in table.items())]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if "harmonic_mean" in results:
        by_hand, learned = (f"{results['harmonic_mean'][name]:.2%}" for name in ("zero_shot", "learned"))
        tables.append(f"Harmonic mean of both accuracies: zero-shot {by_hand}, learned {learned}.")
    return tables


def _eval_results(results: dict[str, Any], task: str, seed: str) -> list[EvalResult]:
    """This checkpoint's metrics first, then the other seeds', then their means."""
    found = []
    others = [each for each in results["seeds"] if each != seed]
    for role, test in results["tests"].items():
        for metric in _metrics(results):
            values: list[tuple[str, float, dict[str, Any]]] = [
                (f"seed {each}", results["seeds"][each]["tests"][role][metric], {"seed": int(each)})
                for each in [seed, *others]
            ]
            if others:
                spread = {"standard_deviation": round(test[metric]["std"], 4)}
                values.append((f"mean of {len(others) + 1} seeds", test[metric]["mean"], spread))
            found += [
                EvalResult(
                    task_type=task,
                    dataset_type=_hub_id(test["source"]) or re.sub(r"\W+", "_", test["title"]).strip("_").lower(),
                    dataset_name=f"{test['title']}{'' if role in ('test', test['title']) else f' ({role})'}",
                    dataset_config=None if len(results["tests"]) == 1 else role,  # else they would be taken for one
                    dataset_split="test",
                    metric_type=metric,
                    metric_name=f"{METRIC_NAMES[metric]}, {name}",
                    metric_value=round(value, 4),
                    metric_args=arguments,
                )
                for name, value, arguments in values
            ]
    return found


def _metrics(results: dict[str, Any]) -> list[str]:
    """Which metrics were measured; where there are several labels "accuracy" repeats the mean average precision."""
    names = next(iter(results["tests"].values()))["zero_shot"]
    hidden = "accuracy" if "mean_average_precision" in names else None
    return [name for name in METRIC_NAMES if name in names and name != hidden]


def _test_title(role: str, test: dict[str, Any]) -> str:
    return one_line(test["title"] if role in ("test", test["title"]) else f"{role}, {test['title']}")


def _hub_id(source: str) -> str | None:
    """The id of what is loaded from the Hub (a data set's split behind it is left out); `None` of a folder."""
    name = str(source).partition(":")[0]
    if os.path.exists(name):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _is_plain(value: Any) -> bool:
    """Whether a setting tells something, and no path of this machine."""
    return value is not None and not (isinstance(value, str) and os.path.isabs(value))
