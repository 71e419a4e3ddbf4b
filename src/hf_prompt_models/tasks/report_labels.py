"""Labels of runs and test sets in a report, which show how runs and test sets differ."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS
from hf_prompt_models.tasks.accuracy_results import BASE_TO_NEW, Result, TestResult


ZERO_SHOT_TOLERANCE = 0.005
"""Maximum difference of zero-shot accuracies on one test set, which can depend on precision and machine."""
LABEL_LETTERS = 60


def in_the_papers_order(titles: Iterable[str]) -> list[str]:
    """Return each title once: published datasets in the order of the papers' tables, then others by name."""
    titles = set(titles)
    published = [dataset.title for dataset in PUBLISHED_DATASETS.values() if dataset.title in titles]
    return published + sorted(titles - set(published))


def backbone_titles(results: Sequence[Any]) -> dict[str, str]:
    """Return the title of each backbone: for a local path its last two parts, unless another has the same."""
    names = {r.backbone: "/".join(Path(r.backbone).parts[-2:]) for r in results if Path(r.backbone).is_absolute()}
    names = {r.backbone: r.backbone for r in results} | names
    return {path: name if list(names.values()).count(name) == 1 else path for path, name in names.items()}


def run_labels(results: Sequence[Result]) -> tuple[dict[Path, str], list[str]]:
    """Return a label for each run, by the path of its results, and notes on equal runs.

    A label is the method and what differs between its runs: arguments, training flags, templates, class names,
    training data. Runs that would share a cell of a table are distinguished by their steps or, if these are equal, by
    a number.
    """
    labels: dict[Path, str] = {}
    for method in sorted({result.method for result in results}):
        of_method = {result.path: _traits(result, results) for result in results if result.method == method}
        keys = dict.fromkeys(key for traits in of_method.values() for key in traits)
        differing = [k for k in keys if len({json.dumps(t.get(k), sort_keys=True) for t in of_method.values()}) > 1]
        for path, traits in sorted(
            of_method.items(), key=lambda item: [_sortable(item[1].get(name)) for name in differing]
        ):
            words = [_words(name, traits.get(name)) for name in differing]
            labels[path] = f"{method} ({', '.join(words)})" if words else method
    notes: list[str] = []
    for same in _cells(results, labels).values():
        if len({result.steps for result in same}) > 1:
            for result in same:
                labels[result.path] = _with(labels[result.path], f"{_steps(result)} steps")
    for same in _cells(results, labels).values():
        for number, result in enumerate(same[1:], start=2):
            notes.append(
                f"{result.path} repeats {same[0].path} with the same settings, so its row is called run {number}."
            )
            labels[result.path] = _with(labels[result.path], f"run {number}")
    order = {path: number for number, path in enumerate(labels)}
    return dict(sorted(labels.items(), key=lambda item: order[item[0]])), notes


def _cells(results: Sequence[Result], labels: dict[Path, str]) -> dict[tuple, list[Result]]:
    """Return the runs of each cell of a table."""
    cells: dict[tuple, list[Result]] = {}
    for result in results:
        cells.setdefault((labels[result.path], result.shots, result.dataset), []).append(result)
    return cells


def _with(label: str, more: str) -> str:
    return f"{label[:-1]}, {more})" if label.endswith(")") else f"{label} ({more})"


def _steps(result: Result) -> str:
    return " to ".join(dict.fromkeys(str(steps) for steps in (min(result.steps), max(result.steps))))


def _traits(result: Result, results: Sequence[Result]) -> dict[str, Any]:
    """Return the values that distinguish how runs were trained."""
    traits = result.arguments | result.settings
    of_title = [other for other in results if other.dataset == result.dataset]
    if any(other.templates_given for other in of_title) or len({_templates(other) for other in of_title}) > 1:
        traits["templates"] = list(_templates(result))
    digests = {other.train_digest for other in of_title}
    sources = {other.train for other in of_title}
    if len(digests - {""}) > 1 or ("" in digests and len(sources) > 1):
        of_source = {other.train_digest for other in of_title if other.train == result.train}
        mark = f" ({result.train_digest[:6]})" if len(of_source) > 1 else ""
        traits["training data"] = f"{'/'.join(Path(result.train).parts[-3:])}{mark}"
    return traits


def _templates(result: Result) -> tuple[str, ...]:
    return result.tests[_first_roles(result)[0]].templates


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Return a sort key that orders numbers by value, and before words."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def _words(name: str, value: Any) -> str:
    match name, value:
        case "n_ctx", _:
            return f"M={value}"
        case "class_token_position", str():
            return value
        case "class_specific_context", bool():
            return "class-specific" if value else "unified"
        case "context_init", None:
            return "random init"
        case "context_init", str():
            return f'init "{value}"'
        case "templates", list():
            return f"templates {template_words(value)}"
        case "training data", str():
            return f"trained on {value}"
        case "class_names" | "few_shot_sample" | "test_fraction" | "validation_fraction", None:
            return f"without {name}"
        case _, None:
            return f"{name} of the recipe"
    return f"{name} {value}"


def template_words(templates: Sequence[str]) -> str:
    """Return a short form of a list of templates: the first, and the number of others."""
    first, *others = templates or ("none",)
    more = f" and {len(others)} more" if others else ""
    return f'"{first[:LABEL_LETTERS]}{"…" if len(first) > LABEL_LETTERS else ""}"{more}'


def named_apart(results: Sequence[Result]) -> list[tuple[Result, str]]:
    """Return runs with a name for the dataset that each was tested on.

    Test sets with the same title get different names if they differ in the number of classes or examples, in their
    files, or in the zero-shot results.
    """
    named: list[tuple[Result, str]] = []
    for title in dict.fromkeys(result.dataset for result in results):
        groups: list[list[Result]] = []
        for result in (each for each in results if each.dataset == title):
            for group in groups:
                if all(same_test_set(result, other) for other in group):
                    group.append(result)
                    break
            else:
                groups.append([result])
        names = [_size(group[0]) for group in groups]
        for number, group in enumerate(groups):
            name = title
            if len(groups) > 1:
                name = f"{title}, {names[number]}" if names[number] else title
                if names.count(names[number]) > 1:
                    name = f"{name}, test set {1 + number}"
            named += [(result, name) for result in group]
    order = {result.path: number for number, result in enumerate(results)}
    return sorted(named, key=lambda pair: order[pair[0].path])


def same_test_set(one: Result, other: Result) -> bool:
    """Return whether two runs with the same dataset title were tested on the same examples, as far as is known."""
    for role in _first_roles(one):
        if role not in other.tests or not _same_test(one.tests[role], other.tests[role], one, other):
            return False
    return True


def _same_test(one: TestResult, other: TestResult, first: Result, second: Result) -> bool:
    if one.test_set != other.test_set:
        return False
    if one.digest and other.digest and one.digest != other.digest:
        return False
    known = bool(one.digest and other.digest)
    if one.templates == other.templates and _of_zero_shot(first) == _of_zero_shot(second):
        return abs(one.zero_shot - other.zero_shot) <= ZERO_SHOT_TOLERANCE
    return known or one.source == other.source  # the zero-shot results cannot be compared


def _of_zero_shot(result: Result) -> tuple[Any, ...]:
    """Return what zero-shot results depend on besides templates and data; CoOp's arguments do not matter."""
    arguments = {} if result.method == "CoOp" else result.arguments
    return result.method, arguments, result.settings.get("class_names")


def _first_roles(result: Result) -> tuple[str, ...]:
    if result.protocol == BASE_TO_NEW:
        return "base", "new"
    return (next(iter(result.tests)),)


def _size(result: Result) -> str:
    classes, examples = result.tests[_first_roles(result)[0]].test_set
    parts = [f"{examples} test {result.kind}s"] * (examples is not None) + [f"{classes} classes"] * (
        classes is not None
    )
    return " of ".join(parts)
