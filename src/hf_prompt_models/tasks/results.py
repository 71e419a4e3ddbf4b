"""Reading `results.json` files of many runs."""

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS
from hf_prompt_models.metrics.guessing import TOP
from hf_prompt_models.training.run_folder import RESULTS_FILE
from hf_prompt_models.utils.files import UNFINISHED


MAX_BYTES = 16 * 2**20
FEW_SHOT, BASE_TO_NEW, CROSS_DATASET = PROTOCOLS = ("few-shot", "base-to-new", "cross-dataset")
SETTINGS = frozenset(
    {
        "recipe", "num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size",
        "gradient_accumulation_steps", "weight_decay", "optim", "optim_args", "lr_scheduler_type", "warmup_steps",
        "max_grad_norm", "label_smoothing_factor", "lora_r", "lora_alpha", "freeze_language_model", "dtype", "dataset",
        "few_shot_sample", "class_names", "test_fraction", "fp16", "bf16", "max_length", "validation_fraction",
    }
)  # fmt: skip
"""Flags that change what a run reaches. What is not given is the recipe's, which may depend on the shots."""
KINDS = ("image", "video", "expression")


@dataclass(frozen=True)
class Score:
    """Accuracy over seeds, from 0 to 1: mean, population standard deviation, number of seeds."""

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True)
class TestResult:
    """What was tested on one test set.

    Attributes:
        title: of the test set.
        test_set: what must agree where two runs are compared on it: numbers of classes and of images or videos.
        templates: of the zero-shot result.
        zero_shot: accuracy of hand-written prompts, from 0 to 1; of several labels the mean average precision.
        learned: the same of the method.
        several_labels: whether there are several labels each.
        source: where the test set is.
        digest: tells it from others, if the run has written one.
        chance: the accuracy of guessing, where it was counted.
        zero_shot_top5, learned_top5: top-5 accuracies, where they were counted.
    """

    title: str
    test_set: tuple[int | None, int | None]
    templates: tuple[str, ...]
    zero_shot: float
    learned: Score
    several_labels: bool = False
    zero_shot_top5: float | None = None
    learned_top5: Score | None = None
    source: str = ""
    digest: str = ""
    chance: float | None = None


@dataclass(frozen=True)
class Result:
    """One `results.json`.

    Attributes:
        path: of the file.
        protocol: one of `PROTOCOLS`.
        method: its title.
        backbone: as the run named it.
        shots: training images or videos a class; 0: all.
        arguments: the method's.
        dataset: title of the data set that was trained on.
        tests: by role: "test"; "base" and "new"; or "source" and one for each target.
        command: what made it, or None.
        kind: what was classified, "image" or "video", or "expression" of visual grounding.
        settings: flags of training that were given, by name: they are not the recipe's.
        steps: training steps of the seeds.
        train: where the training data is.
        train_digest: tells them from others, if the run has written one.
        templates_given: whether the templates were chosen by a flag.
    """

    path: Path
    protocol: str
    method: str
    backbone: str
    shots: int
    arguments: dict[str, Any]
    dataset: str
    tests: dict[str, TestResult]
    command: str | None
    kind: str = "image"
    settings: dict[str, Any] = field(default_factory=dict)
    steps: tuple[int, ...] = (0,)
    train: str = ""
    train_digest: str = ""
    templates_given: bool = False


def read_results(runs: Sequence[str | os.PathLike], others: bool = False) -> list[Result]:
    """Read the results of classifiers and of visual grounding, in the order of their paths.

    Args:
        runs: `results.json` files, or folders that are searched for them, sub-folders and all; results of runs that
            generate text, or are over videos with texts, are passed over in a folder of others.
        others: whether a folder may hold such runs alone.

    Raises:
        ValueError: if a run holds no results, or a file is not one that `hf-prompt train` writes.
    """
    paths: dict[Path, Path] = {}
    for run in map(Path, runs):
        if not run.exists():
            raise ValueError(f"There is no {run}.")
        found = [run] if run.is_file() else find_results(run)
        tasks = {}
        for path in found:
            with suppress(FileNotFoundError):  # removed since it was listed
                tasks[path] = _other_task(path)
        if tasks and not (found := [path for path in found if tasks.get(path, "") is None]):
            if others:
                continue
            names = ", ".join(sorted({task for task in tasks.values() if task}))
            raise ValueError(
                f"{run} holds runs of {names} alone. Tables of accuracies are made of runs that classify images or "
                f"videos and of visual grounding; of these runs the scores stand in {RESULTS_FILE} and on the models' "
                "cards, README.md."
            )
        if not found and not tasks:
            raise ValueError(
                f"{run} holds no {RESULTS_FILE}, nor does a folder in it: is it the output of `hf-prompt train`?"
            )
        paths |= {path.resolve(): path for path in found}  # once, though runs overlap
    results = []
    for path in sorted(paths.values()):
        with suppress(FileNotFoundError):
            results.append(read_result(path))
    return results


def find_results(directory: Path) -> list[Path]:
    """The results in a folder and the folders in it, but for those that a run is writing at this moment."""
    found = []
    for folder, inner, files in os.walk(directory):
        inner[:] = [name for name in inner if not name.startswith(UNFINISHED)]
        found += [Path(folder, RESULTS_FILE)] if RESULTS_FILE in files else []
    return sorted(found)


def _other_task(path: Path) -> str | None:
    """The task of a run whose scores have no place in tables of accuracies: only their results name one."""
    try:
        task = json.loads(path.read_text("utf-8"))["task"] if path.stat().st_size <= MAX_BYTES else None
    except (KeyError, TypeError, ValueError, RecursionError):  # what is wrong with it is said when it is read
        return None
    return task[:80] if isinstance(task, str) else None


def read_result(path: Path) -> Result:
    """Read one `results.json`. One that names no protocol is a few-shot result.

    Raises:
        ValueError: if it is not such a file, naming what is missing or wrong.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is longer than {MAX_BYTES} bytes: it is no result of `hf-prompt train`.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _result(path, value)
    except KeyError as error:
        raise ValueError(
            f"{path} is not a result as `hf-prompt train` writes it: {error.args[0]} is missing."
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a result as `hf-prompt train` writes it: {error}") from error


def _result(path: Path, value: Any) -> Result:
    protocol = _take(value, "protocol", str) if "protocol" in _is(value, dict, "it") else FEW_SHOT
    if protocol not in PROTOCOLS:
        raise ValueError(f"its protocol is {protocol!r}, not one of {', '.join(PROTOCOLS)}.")
    kind = _take(value, "kind", str) if "kind" in value else "image"
    if "test_expressions" in _take(value, "data", dict):  # an earlier version named no kind
        kind = "expression"
    if kind not in KINDS:
        raise ValueError(f"its kind is {kind!r}, not one of {', '.join(KINDS)}.")
    data = _take(value, "data", dict)
    dataset = _title(_take(data, "name", str) if "name" in data else _folder_name(_take(data, "test", str)))
    seeds = len(_take(value, "seeds", dict))
    if not seeds:
        raise ValueError("it has no seeds.")
    if "tests" in value:
        tests = {role: _test(test, seeds, kind) for role, test in _take(value, "tests", dict).items()}
    else:
        counts = {
            "classes": data.get("classes"),
            "test_images": data.get("test_images"),
        }  # of before there were videos
        tests = {"test": _test({"title": dataset, **counts, **value}, seeds, kind)}
    roles = {FEW_SHOT: {"test"}, BASE_TO_NEW: {"base", "new"}, CROSS_DATASET: {"source"}}[protocol]
    if missing := roles - set(tests):
        raise KeyError(f"the test on {' and '.join(sorted(missing))}")
    return Result(
        path,
        protocol,
        _take(value, "method", str),
        _take(value, "backbone", str),
        _take(value, "shots", int),
        _take(value, "arguments", dict),
        # Base-to-new has two test sets of one data set; elsewhere the test set's title is the data set's.
        dataset if protocol == BASE_TO_NEW else tests[next(iter(roles))].title,
        tests,
        command := _take(value, "command", str) if "command" in value else None,
        kind,
        given_flags(command or ""),
        tuple(each.get("steps", 0) if isinstance(each, dict) else 0 for each in value["seeds"].values()),
        str(data.get("train", "")),
        str(data.get("train_digest", "")),
        "--templates" in (command or ""),
    )


def _test(value: Any, seeds: int, kind: str) -> TestResult:
    zero_shot = _take(value, "zero_shot", dict)
    top5 = "top5_accuracy" in zero_shot and (value.get("classes") or TOP + 1) > TOP
    templates = value if "templates" in value else zero_shot
    return TestResult(
        _title(_take(value, "title", str)),
        (value.get("classes"), value.get(f"test_{kind}s")),
        tuple(str(template) for template in _take(templates, "templates", list)),
        _share(zero_shot, "accuracy"),
        _score(_take(value, "accuracy", dict), seeds),
        "mean_average_precision" in zero_shot,
        _share(zero_shot, "top5_accuracy") if top5 else None,
        _score(_take(value, "top5_accuracy", dict), seeds) if top5 else None,
        str(value.get("source", "")),
        str(value.get("digest", "")),
        _share(_take(value, "chance", dict), "accuracy") if "chance" in value else None,
    )


def given_flags(command: str) -> dict[str, str]:
    """Return which of `SETTINGS` a command line gives, and what to; numbers in one form."""
    found: dict[str, list[str]] = {}
    name = ""
    try:
        words = shlex.split(command)
    except ValueError:  # somebody's own command
        return {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if value else []
        elif name:
            found[name].append(word)
    return {name: " ".join(map(_in_one_form, found[name])) for name in sorted(SETTINGS & found.keys())}


def _in_one_form(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _score(value: dict[str, Any], seeds: int) -> Score:
    return Score(_share(value, "mean"), _share(value, "std"), seeds)


def _title(name: str) -> str:
    return PUBLISHED_DATASETS[name].title if name in PUBLISHED_DATASETS else name


def _folder_name(source: str) -> str:
    """What to call a test set that has no name: its folder, or the one above if that only names a split."""
    path = Path(source)
    return path.parent.name or path.name if path.name in {"test", "val", "validation"} else path.name


def _take(value: Any, key: str, kind: type) -> Any:
    return _is(_is(value, dict, "it")[key], kind, key)


def _is(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}.")
    return value


def _share(value: dict[str, Any], key: str) -> float:
    share = value[key]
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError(f"{key} must be a number from 0 to 1, not {str(share)[:40]}.")
    return float(share)
