"""Tables and curves in the layout of the papers, from the accuracies of many runs.

Few-shot results are laid out as in CoOp (arXiv 2109.01134, Figure 3), base-to-new and cross-dataset results as in
CoCoOp (arXiv 2203.05557, Tables 1 and 2).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hf_prompt_models.metrics.classification import harmonic_mean
from hf_prompt_models.metrics.guessing import TOP
from hf_prompt_models.tasks.accuracy_results import (
    BASE_TO_NEW,
    CROSS_DATASET,
    FEW_SHOT,
    PROTOCOLS,
    Result,
    Score,
    TestResult,
    accuracies_of,
)
from hf_prompt_models.tasks.report_labels import (
    ZERO_SHOT_TOLERANCE,
    backbone_titles,
    in_the_papers_order,
    named_apart,
    run_labels,
    template_words,
)
from hf_prompt_models.tasks.results import RunResults
from hf_prompt_models.tasks.sections import Curves, Section, escape


NO_VALUE = "–"
ZERO_SHOT = "zero-shot"
Halves = tuple[Score, Score]
"""Accuracy of the base classes, and of the new ones."""


def accuracy_sections(runs: Sequence[RunResults]) -> list[Section]:
    """Return the tables of runs that classify or ground phrases.

    There is one for each protocol, kind of data and backbone; in base-to-new and cross-dataset also for each number of
    shots. Labels show how runs and test sets differ; equal runs are numbered, with a note.
    """
    results = [accuracies_of(run) for run in runs]
    groups: dict[tuple[int, str, str, int, str], list[Result]] = {}
    backbones = backbone_titles(results)
    named = [(replace(result, backbone=backbones[result.backbone]), title) for result, title in _named(results)]
    for result in (replace(each, dataset=title) for each, title in named):
        shots = 0 if result.protocol == FEW_SHOT else result.shots
        source = result.dataset if result.protocol == CROSS_DATASET else ""
        key = (PROTOCOLS.index(result.protocol), result.kind, result.backbone, shots, source)
        groups.setdefault(key, []).append(result)
    build = {FEW_SHOT: _few_shot, BASE_TO_NEW: _base_to_new, CROSS_DATASET: _cross_dataset}
    return [build[groups[key][0].protocol](groups[key]) for key in sorted(groups)]


def _named(results: Sequence[Result]) -> list[tuple[Result, str]]:
    """Return runs with names for their test sets, which are compared for the same backbone, protocol and kind."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.protocol, result.kind, result.backbone), []).append(result)
    order = {result.path: number for number, result in enumerate(results)}
    named = [pair for group in groups.values() for pair in named_apart(group)]
    return sorted(named, key=lambda pair: order[pair[0].path])


def _few_shot(results: Sequence[Result]) -> Section:
    """Return the few-shot table.

    The rows are zero-shot, then each variant by shots; the columns are the datasets and, if there are several, their
    average. Videos have an additional column for top-5. Mean average precision is never averaged with accuracy.
    """
    labels, repeated = run_labels(results)
    titles = in_the_papers_order(result.dataset for result in results)
    cells: dict[tuple[str, int], dict[str, Result]] = {}
    for result in results:
        cells.setdefault((labels[result.path], result.shots), {})[result.dataset] = result
    zero_shot = _zero_shot_rows(
        {title: [(r, r.tests["test"]) for r in results if r.dataset == title] for title in titles}, labels
    )
    scores = {row: {title: result.tests["test"].learned for title, result in cells[row].items()} for row in cells}
    averages = {row: _average([_mean(scores[row].get(title)) for title in titles]) for row in cells}

    tests = {title: [r.tests["test"] for r in results if r.dataset == title] for title in titles}
    several = len(titles) > 1 and len({test.several_labels for of_title in tests.values() for test in of_title}) == 1
    has_top5 = {title: any(test.zero_shot_top5 is not None for test in tests[title]) for title in titles}
    header = [
        [f"{title}: top-1", f"{title}: top-5"] if has_top5[title] else [_column(title, tests[title])]
        for title in titles
    ]
    table = [["", *(column for of_title in header for column in of_title), *["Average"] * several]]
    chances = {title: next((t.chance for t in tests[title] if t.chance is not None), None) for title in titles}
    if any(chance is not None for chance in chances.values()):
        row = []
        for title in titles:
            classes = tests[title][0].test_set[0]
            guessed = None if classes is None else min(TOP / classes, 1.0)
            row += [percent(chances[title])] + [percent(guessed)] * has_top5[title]
        table.append(_row("chance", row, _average(list(chances.values())), several))
    for name, by_title in zero_shot.items():
        row = []
        for title in titles:
            found = by_title.get(title)
            row += [percent(found.zero_shot if found else None)]
            row += [percent(found.zero_shot_top5 if found else None)] * has_top5[title]
        known = [by_title[title].zero_shot if title in by_title else None for title in titles]
        table.append(_row(name, row, _average(known), several))
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
        table.append(_row(f"{label}, {_shots(shots, results[0].kind)}", row, averages[label, shots], several))

    backbone, kind = results[0].backbone, results[0].kind
    images = []
    for title in titles:
        lines: dict[str, dict[int, tuple[float, float]]] = {}
        for label, shots in rows:
            if shots and (score := scores[label, shots].get(title)) is not None:
                lines.setdefault(label, {})[shots] = (score.mean, score.std)
        if lines:
            stars = {name: by_title[title].zero_shot for name, by_title in zero_shot.items() if title in by_title}
            measure = "mean average precision" if tests[title][0].several_labels else "accuracy"
            images.append(Curves(f"{title}, {backbone}", stars, lines, kind, chances[title], measure))
    lines = {}
    for label, shots in rows:
        if several and shots and (average := averages[label, shots]) is not None:
            lines.setdefault(label, {})[shots] = (average, 0.0)
    if lines:
        stars = {}
        for name, by_title in zero_shot.items():
            mean = _average([by_title[title].zero_shot if title in by_title else None for title in titles])
            stars |= {} if mean is None else {name: mean}
        title = f"Average over {len(titles)} datasets, {backbone}"
        images.append(Curves(title, stars, lines, kind, _average(list(chances.values()))))
    note = _note(results) + (
        " The average is over datasets, and only computed if all of them have a value." if several else ""
    )
    task = "Few-shot visual grounding" if kind == "expression" else "Few-shot classification"
    return Section(_heading(task, results), table, _with_counts(note, tests, kind, repeated), tuple(images))


def _with_counts(note: str, tests: dict[str, list[TestResult]], kind: str, repeated: list[str]) -> str:
    """Return a note with the numbers of test examples, and the notes on repeated runs."""
    counts = [
        f"{title}: {of_title[0].test_set[1]} test {kind}s"
        + ("" if of_title[0].test_set[0] is None else f" of {of_title[0].test_set[0]} classes")
        for title, of_title in tests.items()
        if of_title[0].test_set[1] is not None and f"{of_title[0].test_set[1]} test" not in title
    ]
    return "\n\n".join([note, *([escape("; ".join(counts) + ".")] if counts else []), *map(escape, repeated)])


def _column(title: str, tests: Sequence[TestResult]) -> str:
    return f"{title}: mAP" if any(test.several_labels for test in tests) else title


def _heading(text: str, results: Sequence[Result]) -> str:
    return f"{text}{' of videos' if results[0].kind == 'video' else ''}, {results[0].backbone}"


def _base_to_new(results: Sequence[Result]) -> Section:
    """Return the base-to-new table.

    The rows are zero-shot and each variant, for each dataset and the average of several; the columns are base, new and
    harmonic mean.
    """
    labels, repeated = run_labels(results)
    titles = in_the_papers_order(result.dataset for result in results)
    cells: dict[str, dict[str, Result]] = {label: {} for label in labels.values()}
    for result in results:
        cells[labels[result.path]][result.dataset] = result
    # Base and new by dataset, for each method.
    groups: dict[str, dict[str, Halves]] = {}
    hand_written = {
        role: _zero_shot_rows(
            {title: [(r, r.tests[role]) for r in results if r.dataset == title] for title in titles}, labels
        )
        for role in ("base", "new")
    }
    for name, of_base in hand_written["base"].items():
        of_new = hand_written["new"].get(name, {})
        groups[name] = {
            title: (Score(of_base[title].zero_shot, 0.0, 1), Score(of_new[title].zero_shot, 0.0, 1))
            for title in titles
            if title in of_base and title in of_new
        }
    for label, of_label in cells.items():
        groups[label] = {t: (r.tests["base"].learned, r.tests["new"].learned) for t, r in of_label.items()}

    rows = {title: {name: group.get(title) for name, group in groups.items()} for title in titles}
    if len(titles) > 1:
        rows["Average"] = {
            name: _average_halves([group.get(title) for title in titles]) for name, group in groups.items()
        }
    table = [["", "Base", "New", "H"]]
    table += [[name, *_halves(scores)] for of_title in rows.values() for name, scores in of_title.items()]
    if len(titles) > 1:
        datasets = ["Dataset", *(title for title, of_title in rows.items() for _ in of_title)]
        table = [[dataset, *row] for dataset, row in zip(datasets, table, strict=True)]
    note = _note(results) + " H is the harmonic mean of base and new; for the average, of the averages."
    note = "\n\n".join([note, *map(escape, repeated)])
    return Section(f"{_heading('Base-to-new', results)}, {_shots(results[0].shots)}", table, note)


def _average_halves(scores: Sequence[Halves | None]) -> Halves | None:
    """Return the averages over datasets, without a deviation, or `None` if a dataset has no value."""
    known = [each for each in scores if each is not None]
    if len(known) < len(scores):
        return None
    base, new = (sum(each[half].mean for each in known) / len(known) for half in (0, 1))
    return Score(base, 0.0, 1), Score(new, 0.0, 1)


def _halves(scores: Halves | None) -> list[str]:
    if scores is None:
        return [NO_VALUE] * 3
    base, new = scores
    return [score_text(base), score_text(new), percent(harmonic_mean_or_gap(base.mean, new.mean))]


def _cross_dataset(results: Sequence[Result]) -> Section:
    """Return the cross-dataset table.

    The rows are zero-shot and each variant; the columns are the source, the targets, and the average of the targets.
    """
    labels, repeated = run_labels(results)
    source = results[0].dataset
    tests: dict[str, dict[str, TestResult]] = {}  # the targets of each file, by title
    for result in results:
        targets = tests.setdefault(str(result.path), {})
        for role, test in result.tests.items():
            if role != "source" and targets.setdefault(test.title, test) is not test:
                raise ValueError(
                    f"{result.path} has two targets with the name {test.title!r}. Give each its own name."
                )
    titles = in_the_papers_order(title for targets in tests.values() for title in targets)
    cells = {labels[result.path]: result for result in results}

    table = [["", f"{source} (source)", *titles, "Average of targets"]]
    of_targets = {
        title: [(r, tests[str(r.path)][title]) for r in results if title in tests[str(r.path)]] for title in titles
    }
    hand_written = _zero_shot_rows({source: [(r, r.tests["source"]) for r in results]} | of_targets, labels)
    for name, by_title in hand_written.items():
        values = [by_title[title].zero_shot if title in by_title else None for title in (source, *titles)]
        table.append([name, *map(percent, [*values, _average(values[1:])])])
    for label in dict.fromkeys(labels.values()):
        targets = tests[str(cells[label].path)]
        scores = [targets[title].learned if title in targets else None for title in titles]
        learned = [cells[label].tests["source"].learned, *scores]
        table.append([label, *map(score_text, learned), percent(_average([_mean(score) for score in scores]))])
    heading = f"{_heading(f'Cross-dataset from {source}', results)}, {_shots(results[0].shots)}"
    return Section(heading, table, "\n\n".join([_note(results), *map(escape, repeated)]))


def _zero_shot_rows(
    tests: dict[str, list[tuple[Result, TestResult]]], labels: dict[Path, str]
) -> dict[str, dict[str, TestResult]]:
    """Return rows of zero-shot results, by their titles.

    There is one row if all runs of a test set agree; else one for each list of templates and, if runs with the same
    templates differ, one for each run's label.

    Args:
        tests: For each title of a test set, the runs and their results on it.
        labels: Labels of the runs.
    """
    templates = {test.templates for of_title in tests.values() for _, test in of_title}
    several = any(len({test.templates for _, test in of_title}) > 1 for of_title in tests.values())
    rows: dict[str, dict[str, TestResult]] = {}
    for each in sorted(templates) if several else [None]:
        name = ZERO_SHOT if each is None else f"{ZERO_SHOT}, {template_words(each)}"
        for title, of_title in tests.items():
            for result, test in of_title:
                if each is not None and test.templates != each:
                    continue
                first = rows.setdefault(name, {}).setdefault(title, test)
                if abs(first.zero_shot - test.zero_shot) > ZERO_SHOT_TOLERANCE:
                    rows.setdefault(f"{name} of {labels[result.path]}", {})[title] = test
    return rows


def _average(values: Sequence[float | None]) -> float | None:
    """Return the mean, or `None` if a value is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _mean(score: Score | None) -> float | None:
    return None if score is None else score.mean


def harmonic_mean_or_gap(base: float | None, new: float | None) -> float | None:
    """Return the harmonic mean, or `None` if a value is missing."""
    return None if base is None or new is None else harmonic_mean(base, new)


def percent(share: float | None) -> str:
    """Return a share in %, or a dash if it is missing."""
    return NO_VALUE if share is None else f"{100 * share:.2f}"


def score_text(score: Score | None) -> str:
    """Return a score in %, with the deviation if there are several seeds."""
    if score is None or score.seeds < 2:
        return percent(_mean(score))
    return f"{percent(score.mean)} ± {percent(score.std)}"


def _shots(shots: int, kind: str = "image") -> str:
    unit = "expression" if kind == "expression" else "shot"
    return f"{shots} {unit}{'s' if shots > 1 else ''}" if shots else "all examples"


def _row(name: str, cells: list[str], average: float | None, several: bool) -> list[str]:
    return [name, *cells, *([percent(average)] if several else [])]


def _note(results: Sequence[Result]) -> str:
    seeds = sorted({test.learned.seeds for result in results for test in result.tests.values()})
    several = any(test.several_labels for result in results for test in result.tests.values())
    measure = "Accuracy, or mean average precision (mAP) for several labels," if several else "Accuracy"
    if seeds == [1]:
        return f"{measure} in %, one seed."
    counts = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return f"{measure} in %, mean ± population deviation over {counts} seeds."
