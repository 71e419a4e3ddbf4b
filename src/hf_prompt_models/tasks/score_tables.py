"""Tables of runs that generate text, or are over videos with texts: a row for each run, a column for each score."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.tasks.report_labels import LABEL_LETTERS
from hf_prompt_models.tasks.results import MAX_BYTES, find_results, given_flags


GENERATION = "image-text-to-text"
TASK_TITLES = {
    GENERATION: "Generated texts",
    "retrieval": "Video-text retrieval",
    "pretraining": "Video-text pre-training, tested by retrieval",
    "prompter": "Entity prompter, tested by retrieval",
    "question-answering": "Questions about videos",
}
DIRECTIONS = {"text_to_video": "text to video", "video_to_text": "video to text"}
RECALLS = {f"recall_at_{k}": f"R@{k}" for k in (1, 5, 10)} | {"median_rank": "median rank", "mean_rank": "mean rank"}
NOT_SHARES = ("cider_d", "median_rank", "mean_rank")
"""Scores that are no shares, and so not in %."""


@dataclass(frozen=True)
class ScoredRun:
    """The scores of one run.

    Attributes:
        path: of its results.
        task: as the results name it.
        method: its title.
        backbone: what it started from.
        test: what it was tested on: the title of the data, how many examples there are, and where they are.
        traits: what tells it from others: arguments, flags of training, data that was trained on, steps.
        seeds: scores by name, of each seed.
        baselines: scores by name, of rows to compare with; each may be of some seeds.
        command: what made it, or None.
    """

    path: Path
    task: str
    method: str
    backbone: str
    test: tuple[str, int, str]
    traits: dict[str, str]
    seeds: list[dict[str, float]]
    baselines: dict[str, list[dict[str, float]]]
    command: str | None


def read_scored_runs(runs: Sequence[str | os.PathLike]) -> list[ScoredRun]:
    """Read the results of runs that have a table of scores, in the order of their paths; others are passed over.

    Raises:
        ValueError: naming a file that is not as `hf-prompt train` writes it.
    """
    found = {}
    for source in map(Path, runs):
        for path in [source] if source.is_file() else find_results(source):
            found[path.resolve()] = path
    return [run for path in sorted(found.values()) if (run := _read(path)) is not None]


def _read(path: Path) -> ScoredRun | None:
    try:
        value = json.loads(path.read_text("utf-8")) if path.stat().st_size <= MAX_BYTES else None
        if not isinstance(value, dict) or value.get("task") not in TASK_TITLES:
            return None
    except (ValueError, RecursionError):  # reported when it is read as the result of a classifier
        return None
    try:
        return _scored(path, value)
    except KeyError as error:
        raise ValueError(
            f"{path} is not a result as `hf-prompt train` writes it: {error.args[0]} is missing."
        ) from error
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a result as `hf-prompt train` writes it: {error}") from error


def _scored(path: Path, value: dict[str, Any]) -> ScoredRun:
    task, data, seeds = value["task"], value["data"], value["seeds"]
    generates = task == GENERATION
    backbone = f"{value['backbone']} + {value['vision_model']}" if generates else value["backbone"]
    traits = {name: str(each) for name, each in value["arguments"].items()}
    traits |= given_flags(value.get("command") or "") | {
        "decoding": str(value.get("decoding") or {}),
        "trained on": f"{data['train']}, {data['train_examples' if generates else 'train_texts']} examples",
        "steps": " to ".join(sorted({str(each["steps"]) for each in seeds.values()})),
    }
    baselines: dict[str, list[dict[str, float]]] = {}
    if generates:
        scores = [_numbers(each["test"]) for each in seeds.values()]
        if constant := value.get("most_frequent_answer"):
            baselines["one answer to all"] = [_numbers(constant["test"])]
        for each in seeds.values():
            if "blind" in each:
                shown = each["blind"]["examples"]
                part = "" if shown == data["test_examples"] else f", on {shown} examples"
                baselines.setdefault(f"black images{part}", []).append(_numbers(each["blind"]["test"]))
    else:
        scores = [_flat(each) for each in seeds.values()]
        baselines = {"before training": [_flat(each["before"]) for each in seeds.values()]}
        if "chance" in value:
            baselines["chance"] = [_flat(value["chance"])]
        if "answer_prior" in value:
            baselines["without the videos"] = [{"accuracy": float(value["answer_prior"])}]
    count = data["test_examples" if generates else "test_texts"]
    test = (data.get("test_name") or data["name"], count, data["test"])
    return ScoredRun(path, task, value["method"], backbone, test, traits, scores, baselines, value.get("command"))


def _flat(metrics: dict[str, Any]) -> dict[str, float]:
    """Scores of both directions, or of answers, by their columns' titles."""
    if "by_kind" in metrics:
        return {"accuracy": float(metrics["accuracy"])} | _numbers(metrics["by_kind"])
    return {
        f"{title}: {RECALLS[name]}": value
        for direction, title in DIRECTIONS.items()
        for name, value in _numbers(metrics[direction]).items()
        if name in RECALLS
    }


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def score_tables(runs: Sequence[ScoredRun]) -> list[tuple[str, list[list[str]], str]]:
    """Return a heading, a table and a note for each task, test set and backbone.

    Rows: what to compare each run with, then the run, with what tells it from the others. Equal runs are numbered.
    """
    groups: dict[tuple[str, str, tuple[str, int, str]], list[ScoredRun]] = {}
    for run in runs:
        groups.setdefault((run.task, run.backbone, run.test), []).append(run)
    titles = [f"{TASK_TITLES[task]}, {_title(backbone)}, tested on {test[0]}" for task, backbone, test in groups]
    tables = []
    for title, ((_, _, test), of_group) in zip(titles, groups.items(), strict=True):
        heading = title if titles.count(title) == 1 else f"{title} ({test[1]} examples, {test[2]})"
        labels, repeated = _labels(of_group)
        columns = list(dict.fromkeys(name for run in of_group for seed in run.seeds for name in seed))
        rows = [["", *columns]]
        for run, label in zip(of_group, labels, strict=True):
            for name, values in {**run.baselines, "": run.seeds}.items():
                rows.append([f"{label}: {name}" if name else label, *(_cell(values, column) for column in columns)])
        seeds = sorted({len(run.seeds) for run in of_group})
        counted = "one seed" if seeds == [1] else f"mean ± population deviation over {'/'.join(map(str, seeds))} seeds"
        note = f"{test[1]} test examples. Shares in %; CIDEr-D and ranks as they are; {counted}."
        tables.append((heading, rows, "\n\n".join([note, *repeated])))
    return tables


def _title(backbone: str) -> str:
    parts = [Path(part) for part in backbone.split(" + ")]
    return " + ".join("/".join(part.parts[-2:]) if part.is_absolute() else str(part) for part in parts)


def _labels(runs: Sequence[ScoredRun]) -> tuple[list[str], list[str]]:
    keys = dict.fromkeys(key for run in runs for key in run.traits)
    differing = [key for key in keys if len({run.traits.get(key) for run in runs}) > 1]
    labels: list[str] = []
    notes: list[str] = []
    first: dict[str, ScoredRun] = {}
    for run in runs:
        words = [f"{key} {run.traits.get(key, 'of the recipe')}"[:LABEL_LETTERS] for key in differing]
        label = f"{run.method} ({', '.join(words)})" if words else run.method
        if label in first:
            number = 2 + sum(each.startswith(f"{label}, run ") for each in labels)
            notes.append(
                f"{run.path} repeats {first[label].path}, with the same settings: its row is called run {number}."
            )
            label = f"{label}, run {number}"
        first.setdefault(label, run)
        labels.append(label)
    return labels, notes


def _cell(values: Sequence[dict[str, float]], name: str) -> str:
    """Mean and, of several, deviation; a dash where there is no score of this name."""
    known = [value[name] for value in values if name in value]
    if not known:
        return "–"
    share = not any(name.endswith(each.replace("_", " ")) or name == each for each in NOT_SHARES)
    mean = mean_and_deviation([(100 if share else 1) * value for value in known])
    return f"{mean['mean']:.2f}" + (f" ± {mean['std']:.2f}" if len(known) > 1 else "")
