"""The papers' tables and curves from the results of many runs.

Layout: few-shot as in CoOp (arXiv 2109.01134, Figure 3), base-to-new and cross-dataset as in CoCoOp (arXiv 2203.05557,
Tables 1 and 2).
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hf_prompt_models.data.files import write_text
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS
from hf_prompt_models.metrics.classification import harmonic_mean
from hf_prompt_models.training.plots import plot_accuracy_by_shots
from hf_prompt_models.training.results import (
    BASE_TO_NEW,
    CROSS_DATASET,
    FEW_SHOT,
    PROTOCOLS,
    Result,
    Score,
    TestResult,
)


REPORT_FILE = "report.md"
NO_VALUE = "–"
ZERO_SHOT = "zero-shot"
ZERO_SHOT_TOLERANCE = 0.005
"""Zero-shot accuracies of one test set may differ so much between runs, by precision and machine."""


@dataclass(frozen=True)
class Curves:
    """A picture: accuracy by shots, one line a variant."""

    title: str
    zero_shot: float | None
    lines: dict[str, dict[int, tuple[float, float]]]
    kind: str


@dataclass(frozen=True)
class Section:
    """One table of the report, with its pictures."""

    heading: str
    table: list[list[str]]
    note: str
    curves: tuple[Curves, ...] = ()

    def markdown(self) -> str:
        return f"## {escape(self.heading)}\n\n{markdown_table(self.table)}\n\n{self.note}"


def build_sections(results: Sequence[Result]) -> list[Section]:
    """One table for each protocol, images or videos, and backbone; in base-to-new and cross-dataset also for each
    number of shots.

    Raises:
        ValueError: if two results are of the same cell of a table, or of the same test set and cannot be compared.
    """
    groups: dict[tuple[int, str, str, int, str], list[Result]] = {}
    backbones = backbone_titles(results)
    for result in (replace(result, backbone=backbones[result.backbone]) for result in results):
        shots = 0 if result.protocol == FEW_SHOT else result.shots
        source = result.dataset if result.protocol == CROSS_DATASET else ""
        key = (PROTOCOLS.index(result.protocol), result.kind, result.backbone, shots, source)
        groups.setdefault(key, []).append(result)
    build = {FEW_SHOT: _few_shot, BASE_TO_NEW: _base_to_new, CROSS_DATASET: _cross_dataset}
    return [build[groups[key][0].protocol](groups[key]) for key in sorted(groups)]


def write_report(results: Sequence[Result], output_dir: str | os.PathLike) -> str:
    """Write `report.md` and its pictures.

    Returns:
        The tables as Markdown, without the pictures.
    """
    output_dir = Path(output_dir)
    sections = build_sections(results)
    output_dir.mkdir(parents=True, exist_ok=True)
    blocks, taken = ["# Results"], set()
    for section in sections:
        blocks.append(section.markdown())
        for curves in section.curves:
            name = stem = re.sub(r"[^A-Za-z0-9.]+", "-", f"few-shot {curves.title}")[:100].strip("-.")
            number = 1
            while name.lower() in taken:  # lower: some file systems know no capitals
                number += 1
                name = f"{stem}-{number}"
            taken.add(name.lower())
            plot_accuracy_by_shots(
                curves.lines, curves.zero_shot, curves.title, output_dir / f"{name}.png", curves.kind
            )
            blocks.append(f"![{escape(curves.title)}]({name}.png)")
    if commands := [result.command for result in results if result.command]:
        blocks.append("## Commands\n\n" + "\n".join(f"    {' '.join(command.split())}" for command in commands))
    write_text(output_dir / REPORT_FILE, "\n\n".join(blocks) + "\n")
    return "\n\n".join(section.markdown() for section in sections)


def _few_shot(results: Sequence[Result]) -> Section:
    """Rows: zero-shot, then each variant by shots. Columns: data sets and, where there are several, their average.

    Of videos there is a column for top-5, too. Mean average precision is never averaged with accuracy.
    """
    labels = variant_labels(results)
    titles = in_the_papers_order(result.dataset for result in results)
    cells: dict[tuple[str, int], dict[str, Result]] = {}
    for result in results:
        _put(cells.setdefault((labels[variant(result)], result.shots), {}), result.dataset, result)
    zero_shot = {title: _zero_shot((r, r.tests["test"]) for r in results if r.dataset == title) for title in titles}
    scores = {row: {title: result.tests["test"].learned for title, result in cells[row].items()} for row in cells}
    averages = {row: _average([_mean(scores[row].get(title)) for title in titles]) for row in cells}
    zero_shot_average = _average(list(zero_shot.values()))

    tests = {title: [r.tests["test"] for r in results if r.dataset == title] for title in titles}
    several = len(titles) > 1 and len({test.several_labels for of_title in tests.values() for test in of_title}) == 1
    has_top5 = {title: any(test.zero_shot_top5 is not None for test in tests[title]) for title in titles}
    header = [
        [f"{title}: top-1", f"{title}: top-5"] if has_top5[title] else [_column(title, tests[title])]
        for title in titles
    ]
    table = [["", *(column for of_title in header for column in of_title), *["Average"] * several]]
    row = []
    for title in titles:
        row += [percent(zero_shot[title])] + [percent(tests[title][0].zero_shot_top5)] * has_top5[title]
    table.append(_row(ZERO_SHOT, row, zero_shot_average, several))
    rows = [
        (label, shots)
        for label in dict.fromkeys(labels.values())
        for shots in sorted(s for name, s in cells if name == label)
    ]
    for label, shots in rows:
        row = []
        for title in titles:
            result_there = cells[label, shots].get(title)
            top5 = result_there.tests["test"].learned_top5 if result_there else None
            row += [score_text(scores[label, shots].get(title))] + [score_text(top5)] * has_top5[title]
        table.append(_row(f"{label}, {_shots(shots)}", row, averages[label, shots], several))

    backbone, kind = results[0].backbone, results[0].kind
    pictures = []
    for title in titles:
        lines: dict[str, dict[int, tuple[float, float]]] = {}
        for label, shots in rows:
            if shots and (score := scores[label, shots].get(title)) is not None:
                lines.setdefault(label, {})[shots] = (score.mean, score.std)
        if lines:
            pictures.append(Curves(f"{title}, {backbone}", zero_shot[title], lines, kind))
    lines = {}
    for label, shots in rows:
        if several and shots and (average := averages[label, shots]) is not None:
            lines.setdefault(label, {})[shots] = (average, 0.0)
    if lines:
        pictures.append(Curves(f"Average over {len(titles)} data sets, {backbone}", zero_shot_average, lines, kind))
    note = _note(results) + (" The average is over data sets and only where all have a value." if several else "")
    return Section(_heading("Few-shot classification", results), table, note, tuple(pictures))


def _column(title: str, tests: Sequence[TestResult]) -> str:
    return f"{title}: mAP" if any(test.several_labels for test in tests) else title


def _heading(text: str, results: Sequence[Result]) -> str:
    return f"{text}{' of videos' if results[0].kind == 'video' else ''}, {results[0].backbone}"


def _base_to_new(results: Sequence[Result]) -> Section:
    """Rows: data sets and their average. Columns: base, new, harmonic mean, for zero-shot and each variant."""
    labels = variant_labels(results)
    titles = in_the_papers_order(result.dataset for result in results)
    cells: dict[str, dict[str, Result]] = {label: {} for label in labels.values()}
    for result in results:
        _put(cells[labels[variant(result)]], result.dataset, result)
    # For each group of columns, by data set: base and new.
    groups: dict[str, dict[str, tuple[Score, Score]]] = {ZERO_SHOT: {}}
    for title in titles:
        of_title = [result for result in results if result.dataset == title]
        base, new = (_zero_shot((r, r.tests[role]) for r in of_title) for role in ("base", "new"))
        groups[ZERO_SHOT][title] = Score(base, 0.0, 1), Score(new, 0.0, 1)
    for label, of_label in cells.items():
        groups[label] = {t: (r.tests["base"].learned, r.tests["new"].learned) for t, r in of_label.items()}

    table = [["", *(column for label in groups for column in (f"{label}: Base", "New", "H"))]]
    table += [[title, *(cell for group in groups.values() for cell in _halves(group.get(title)))] for title in titles]
    if len(titles) > 1:
        row = ["Average"]
        for group in groups.values():
            averages = [_average([group[t][half].mean if t in group else None for t in titles]) for half in (0, 1)]
            row += [*map(percent, averages), percent(harmonic_mean_or_gap(*averages))]
        table.append(row)
    note = _note(results) + " H is the harmonic mean of base and new; in the average's row, of the averages."
    return Section(f"{_heading('Base-to-new', results)}, {_shots(results[0].shots)}", table, note)


def _halves(scores: tuple[Score, Score] | None) -> list[str]:
    if scores is None:
        return [NO_VALUE] * 3
    base, new = scores
    return [score_text(base), score_text(new), percent(harmonic_mean_or_gap(base.mean, new.mean))]


def _cross_dataset(results: Sequence[Result]) -> Section:
    """Rows: zero-shot and each variant. Columns: the source, the targets, and the targets' average."""
    labels = variant_labels(results)
    source = results[0].dataset
    tests: dict[str, dict[str, TestResult]] = {}  # of each file: the targets by title
    for result in results:
        targets = tests.setdefault(str(result.path), {})
        for role, test in result.tests.items():
            if role != "source" and targets.setdefault(test.title, test) is not test:
                raise ValueError(f"{result.path} has two targets called {test.title!r}: give them names of their own.")
    titles = in_the_papers_order(title for targets in tests.values() for title in targets)
    cells: dict[str, Result] = {}
    for result in results:
        _put(cells, labels[variant(result)], result)

    table = [["", f"{source} (source)", *titles, "Average of targets"]]
    zero_shot = [
        _zero_shot((r, tests[str(r.path)][title]) for r in results if title in tests[str(r.path)]) for title in titles
    ]
    source_zero_shot = _zero_shot((result, result.tests["source"]) for result in results)
    table.append([ZERO_SHOT, *map(percent, [source_zero_shot, *zero_shot, _average(list(zero_shot))])])
    for label in dict.fromkeys(labels.values()):
        targets = tests[str(cells[label].path)]
        scores = [targets[title].learned if title in targets else None for title in titles]
        learned = [cells[label].tests["source"].learned, *scores]
        table.append([label, *map(score_text, learned), percent(_average([_mean(score) for score in scores]))])
    heading = f"{_heading(f'Cross-dataset from {source}', results)}, {_shots(results[0].shots)}"
    return Section(heading, table, _note(results))


def backbone_titles(results: Sequence[Result]) -> dict[str, str]:
    """What to call each backbone: of a local path its last two parts, unless that is another's name too."""
    names = {r.backbone: "/".join(Path(r.backbone).parts[-2:]) for r in results if Path(r.backbone).is_absolute()}
    names = {r.backbone: r.backbone for r in results} | names
    return {path: name if list(names.values()).count(name) == 1 else path for path, name in names.items()}


def variant(result: Result) -> tuple[str, str]:
    """What tells two ways of learning a prompt apart: the method and all its arguments."""
    return result.method, json.dumps(result.arguments, sort_keys=True)


def variant_labels(results: Sequence[Result]) -> dict[tuple[str, str], str]:
    """A label for each variant: the method, and those of its arguments in which the results differ."""
    labels: dict[tuple[str, str], str] = {}
    for method in sorted({result.method for result in results}):
        of_method = {variant(result): result.arguments for result in results if result.method == method}
        keys = dict.fromkeys(key for arguments in of_method.values() for key in arguments)
        differing = [k for k in keys if len({json.dumps(a.get(k), sort_keys=True) for a in of_method.values()}) > 1]
        for key in sorted(of_method, key=lambda key: [_sortable(of_method[key].get(name)) for name in differing]):
            words = [_argument_words(name, of_method[key].get(name)) for name in differing]
            labels[key] = f"{method} ({', '.join(words)})" if words else method
    return labels


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Numbers by value, and before words."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def _argument_words(name: str, value: Any) -> str:
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
    return f"{name} {value}"


def in_the_papers_order(titles: Iterable[str]) -> list[str]:
    """Each title once: the published data sets as the papers' tables have them, then others by name."""
    titles = set(titles)
    published = [dataset.title for dataset in PUBLISHED_DATASETS.values() if dataset.title in titles]
    return published + sorted(titles - set(published))


def _put(cells: dict[str, Result], cell: str, result: Result) -> None:
    if (other := cells.setdefault(cell, result)) is not result:
        raise ValueError(
            f"{other.path} and {result.path} are results of the same method, settings, backbone, shots and data set "
            f"({result.dataset}): name the runs to report, without one of the two."
        )


def _zero_shot(tests: Iterable[tuple[Result, TestResult]]) -> float:
    """The accuracy of hand-written prompts, on which all results of a test set must agree."""
    (first, test), *others = tests
    for result, other in others:
        compared: dict[str, tuple[Any, Any]] = {
            f"numbers of classes and test {first.kind}s": (test.test_set, other.test_set),
            "templates": (test.templates, other.templates),
        }
        if abs(test.zero_shot - other.zero_shot) > ZERO_SHOT_TOLERANCE:
            compared["zero-shot accuracies"] = (test.zero_shot, other.zero_shot)
        for what, (one, two) in compared.items():
            if one != two:
                raise ValueError(
                    f"{first.path} and {result.path} cannot stand in one table: their {what} on {test.title} differ "
                    f"({one} and {two}). Report them apart, or name different data sets differently."
                )
    return test.zero_shot


def _average(values: Sequence[float | None]) -> float | None:
    """The mean, if there is no gap."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _mean(score: Score | None) -> float | None:
    return None if score is None else score.mean


def harmonic_mean_or_gap(base: float | None, new: float | None) -> float | None:
    return None if base is None or new is None else harmonic_mean(base, new)


def percent(share: float | None) -> str:
    return NO_VALUE if share is None else f"{100 * share:.2f}"


def score_text(score: Score | None) -> str:
    """In %, with the deviation where there are several seeds."""
    if score is None or score.seeds < 2:
        return percent(_mean(score))
    return f"{percent(score.mean)} ± {percent(score.std)}"


def _shots(shots: int) -> str:
    return f"{shots} shot{'s' if shots > 1 else ''}" if shots else "all examples"


def _row(name: str, cells: list[str], average: float | None, several: bool) -> list[str]:
    return [name, *cells, *([percent(average)] if several else [])]


def _note(results: Sequence[Result]) -> str:
    seeds = sorted({test.learned.seeds for result in results for test in result.tests.values()})
    several = any(test.several_labels for result in results for test in result.tests.values())
    measure = "Accuracy, of several labels mean average precision (mAP)," if several else "Accuracy"
    if seeds == [1]:
        return f"{measure} in %, one seed."
    counts = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return f"{measure} in %, mean ± population deviation over {counts} seeds."


def escape(text: str) -> str:
    """Text that stays what it is in a cell of a Markdown table."""
    return re.sub(r"([\\|`*\[\]<>])", r"\\\1", " ".join(text.split()))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header; the first column is text, the others are numbers."""
    header, *body = [[escape(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body])
