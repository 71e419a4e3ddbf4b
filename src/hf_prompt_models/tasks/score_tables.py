"""Tables of scores, with a row for each run and a column for each score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.tasks.report_labels import LABEL_LETTERS
from hf_prompt_models.tasks.results import RunResults, given_flags, not_a_result
from hf_prompt_models.tasks.sections import Section, escape


NOT_SHARES = ("cider_d", "median_rank", "mean_rank")
"""Scores that are not shares, and are therefore not shown in %."""


@dataclass(frozen=True)
class ScoredRun:
    """Scores of one run.

    Attributes:
        path: Path of its results.
        title: Title of its task.
        method: Title of its method.
        backbone: Model that training started from.
        test: Test data: title, number of examples, and source.
        traits: Values that distinguish the run from others: arguments, training flags, training data, steps.
        seeds: Scores by name, of each seed.
        baselines: Scores by name, of rows to compare with; each can have values of several seeds.
    """

    path: Path
    title: str
    method: str
    backbone: str
    test: tuple[str, int, str]
    traits: dict[str, str]
    seeds: list[dict[str, float]]
    baselines: dict[str, list[dict[str, float]]]


def scored(runs: Sequence[RunResults], score: Callable[[RunResults], ScoredRun]) -> list[ScoredRun]:
    """Return the scores of runs.

    Args:
        runs: Runs of one task.
        score: Function of the task that returns the scores of one run.

    Raises:
        ValueError: If a file is not written by `hf-prompt train`; the message names it.
    """
    found = []
    for run in runs:
        try:
            found.append(score(run))
        except (AttributeError, KeyError, TypeError) as error:
            raise not_a_result(run.path, error) from error
    return found


def settings_of(run: RunResults) -> dict[str, str]:
    """Return the arguments of a run's method and its training flags, which distinguish it from other runs."""
    settings = {name: str(each) for name, each in run.value["arguments"].items()}
    return settings | given_flags(run.command or "")


def steps_of(run: RunResults) -> str:
    """Return the training steps of a run's seeds, as text."""
    return " to ".join(sorted({str(each["steps"]) for each in run.value["seeds"].values()}))


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Return the values of a mapping that are numbers."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def score_sections(runs: Sequence[ScoredRun]) -> list[Section]:
    """Return a section for each task, test set and backbone.

    The rows are the baselines of each run, then the run, with what distinguishes it from others. Equal runs are
    numbered.
    """
    groups: dict[tuple[str, str, tuple[str, int, str]], list[ScoredRun]] = {}
    for run in runs:
        groups.setdefault((run.title, run.backbone, run.test), []).append(run)
    titles = [f"{title}, {_title(backbone)}, tested on {test[0]}" for title, backbone, test in groups]
    sections = []
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
        note = f"{test[1]} test examples. Shares in %; CIDEr-D and ranks without a unit; {counted}."
        sections.append(Section(heading, rows, escape("\n\n".join([note, *repeated]))))
    return sections


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
                f"{run.path} repeats {first[label].path} with the same settings, so its row is called run {number}."
            )
            label = f"{label}, run {number}"
        first.setdefault(label, run)
        labels.append(label)
    return labels, notes


def _cell(values: Sequence[dict[str, float]], name: str) -> str:
    """Return the mean, with the deviation if there are several values, or a dash if no score has this name."""
    known = [value[name] for value in values if name in value]
    if not known:
        return "–"
    share = not any(name.endswith(each.replace("_", " ")) or name == each for each in NOT_SHARES)
    mean = mean_and_deviation([(100 if share else 1) * value for value in known])
    return f"{mean['mean']:.2f}" + (f" ± {mean['std']:.2f}" if len(known) > 1 else "")
