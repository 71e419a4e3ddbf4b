"""Accuracies of a run that classifies or grounds phrases, for the tables of reports."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS
from hf_prompt_models.metrics.guessing import TOP
from hf_prompt_models.tasks.results import RunResults, given_flags, not_a_result


FEW_SHOT, BASE_TO_NEW, CROSS_DATASET = PROTOCOLS = ("few-shot", "base-to-new", "cross-dataset")
KINDS = ("image", "video", "expression")


@dataclass(frozen=True)
class Score:
    """Accuracy over seeds.

    Attributes:
        mean: Mean, from 0 to 1.
        std: Population standard deviation.
        seeds: Number of seeds.
    """

    mean: float
    std: float
    seeds: int


@dataclass(frozen=True)
class TestResult:
    """Results on one test set.

    Attributes:
        title: Title of the test set.
        test_set: Numbers of classes and of examples, which must be equal if two runs are compared.
        templates: Templates of the zero-shot result, and the source of its sentences about each class.
        zero_shot: Accuracy of hand-written prompts, from 0 to 1; with several labels, the mean average precision.
        learned: Accuracy of the method, in the same metric.
        several_labels: Whether examples have several labels.
        zero_shot_top5: Top-5 accuracy of hand-written prompts, if known.
        learned_top5: Top-5 accuracy of the method, if known.
        source: Source of the test set.
        digest: Digest that identifies the test set, if the run has one.
        chance: Accuracy of guessing, if known.
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
    """Content of one `results.json`.

    Attributes:
        path: Path of the file.
        protocol: One of `PROTOCOLS`.
        method: Title of the method.
        backbone: Backbone, as the run named it.
        shots: Training examples per class; 0: all.
        arguments: Arguments of the method.
        dataset: Title of the dataset that was trained on.
        tests: Results by role: "test"; "base" and "new"; or "source" and one for each target.
        command: Command line of the run, or `None`.
        kind: "image" or "video", which were classified, or "expression" of visual grounding.
        settings: Training flags that were given, by name, and that override the recipe's.
        steps: Training steps of the seeds.
        train: Source of the training data.
        train_digest: Digest that identifies the training data, if the run has one.
        templates_given: Whether a flag set the templates.
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


def accuracies_of(results: RunResults) -> Result:
    """Return the accuracies of a run. A run without a protocol is a few-shot result.

    Raises:
        ValueError: If the file is not written by `hf-prompt train`; the message names what is missing or wrong.
    """
    try:
        return _result(results.path, results.value)
    except (KeyError, TypeError, ValueError) as error:
        raise not_a_result(results.path, error) from error


def _result(path: Path, value: Any) -> Result:
    protocol = _take(value, "protocol", str) if "protocol" in _is(value, dict, "it") else FEW_SHOT
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}.")
    kind = _take(value, "kind", str) if "kind" in value else "image"
    if "test_expressions" in _take(value, "data", dict):  # an earlier version wrote no kind
        kind = "expression"
    if kind not in KINDS:
        raise ValueError(f"the kind {kind!r} is not one of {', '.join(KINDS)}.")
    data = _take(value, "data", dict)
    dataset = _title(_take(data, "name", str) if "name" in data else _folder_name(_take(data, "test", str)))
    seeds = len(_take(value, "seeds", dict))
    if not seeds:
        raise ValueError("there are no seeds.")
    if "tests" in value:
        tests = {role: _test(test, seeds, kind) for role, test in _take(value, "tests", dict).items()}
    else:
        counts = {
            "classes": data.get("classes"),
            "test_images": data.get("test_images"),
        }  # from a version without videos
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
        # Base-to-new has two test sets of one dataset; otherwise the title of the test set is that of the dataset.
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
    templates = _take(value if "templates" in value else zero_shot, "templates", list)
    if "class_prompts" in value:
        sentences = _take(value, "class_prompts", dict)
        source, digest = (_take(sentences, name, str) for name in ("source", "digest"))
        templates = [*templates, f"sentences of {Path(source).name} ({digest[:6]})"]
    return TestResult(
        _title(_take(value, "title", str)),
        (value.get("classes"), value.get(f"test_{kind}s")),
        tuple(map(str, templates)),
        _share(zero_shot, "accuracy"),
        _score(_take(value, "accuracy", dict), seeds),
        "mean_average_precision" in zero_shot,
        _share(zero_shot, "top5_accuracy") if top5 else None,
        _score(_take(value, "top5_accuracy", dict), seeds) if top5 else None,
        str(value.get("source", "")),
        str(value.get("digest", "")),
        _share(_take(value, "chance", dict), "accuracy") if "chance" in value else None,
    )


def _score(value: dict[str, Any], seeds: int) -> Score:
    return Score(_share(value, "mean"), _share(value, "std"), seeds)


def _title(name: str) -> str:
    return PUBLISHED_DATASETS[name].title if name in PUBLISHED_DATASETS else name


def _folder_name(source: str) -> str:
    """Return the name of a test set without a title: its folder, or the parent if the folder only names a split."""
    path = Path(source)
    return path.parent.name or path.name if path.name in {"test", "val", "validation"} else path.name


def _take(value: Any, key: str, kind: type) -> Any:
    return _is(_is(value, dict, "it")[key], kind, key)


def _is(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}.")
    return value


def _share(value: dict[str, Any], key: str) -> float:
    share = value[key]
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError(f"{key} must be a number from 0 to 1, got {str(share)[:40]}.")
    return float(share)
