"""Report of a comparison: tables of accuracies, what is significant, time and size, and what changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_prompt_models.metrics.classification import harmonic_mean, mean_and_deviation
from hf_prompt_models.tasks.accuracy_results import Score
from hf_prompt_models.tasks.accuracy_tables import NO_VALUE, percent, score_text
from hf_prompt_models.tasks.image_classification.bootstrap import interval, is_noise, resampled_means
from hf_prompt_models.tasks.image_classification.comparison.answers import (
    CHANGES_FILE,
    CLASSES_FILE,
    AllAnswers,
    class_rows,
    read_all,
    write_changes,
    write_classes,
)
from hf_prompt_models.tasks.image_classification.comparison.arguments import CompareArguments
from hf_prompt_models.tasks.image_classification.comparison.cells import Cell
from hf_prompt_models.tasks.image_classification.comparison.methods import ZERO_SHOT
from hf_prompt_models.tasks.image_classification.comparison.plan import Plan, flag_of
from hf_prompt_models.tasks.report import REPORT_FILE
from hf_prompt_models.tasks.results import origin, write_results
from hf_prompt_models.tasks.sections import Section, escape
from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.plots import plot_accuracy_by_shots
from hf_prompt_models.utils.files import write_text


CURVES_FILE = "accuracy_by_shots.png"
SHOWN_CLASSES = 5
H = "H"
"""Name of the harmonic mean of base and new."""


@dataclass(frozen=True)
class Scores:
    """Scores of a comparison: of each test set, and the harmonic mean in base-to-new.

    Attributes:
        seeds: Scores of the seeds, by test set, method and shots.
        resampled: Scores in samples of the test images, means over the seeds, in the same order; shots 0 is zero-shot.
        zero_shot: Zero-shot scores, by test set.
    """

    seeds: dict[str, dict[tuple[str, int], list[float]]]
    resampled: dict[str, dict[tuple[str, int], np.ndarray]]
    zero_shot: dict[str, float]

    def score(self, test: str, method: str, shots: int) -> Score:
        """Return mean and deviation of a method over the seeds."""
        values = self.seeds[test][method, shots]
        found = mean_and_deviation(values)
        return Score(found["mean"], found["std"], len(values))

    def mean(self, test: str, method: str, shots: int) -> float:
        """Return the mean of a method over the seeds; zero-shot is the same for all shots."""
        return self.zero_shot[test] if method == ZERO_SHOT else self.score(test, method, shots).mean

    def samples(self, test: str, method: str, shots: int) -> np.ndarray:
        """Return the resampled scores of a method."""
        return self.resampled[test][(ZERO_SHOT, 0) if method == ZERO_SHOT else (method, shots)]


def scores_of(answers: AllAnswers, methods: Sequence[str], shots: Sequence[int], resamples: int) -> Scores:
    """Return the scores of all cells, counted from their answers.

    Args:
        answers: All answers.
        methods: Names of the methods.
        shots: Numbers of training images per class.
        resamples: Number of samples of the test images.
    """
    keys = [(method, k) for method in methods for k in shots]
    seeds: dict[str, dict[tuple[str, int], list[float]]] = {}
    resampled: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    zero_shot = {}
    for number, (role, hand_written) in enumerate(answers.zero_shot.items()):
        right = {key: answers.right(*key, role) for key in keys}
        seeds[role] = {key: each.mean(axis=1).tolist() for key, each in right.items()}
        zero_shot[role] = float(hand_written.right.mean())
        columns = np.stack([hand_written.right, *(each.mean(axis=0) for each in right.values())], axis=1)
        drawn = resampled_means(columns, resamples, seed=number)  # the test sets are sampled independently
        resampled[role] = dict(zip([(ZERO_SHOT, 0), *keys], drawn.T, strict=True))
    if set(seeds) == {"base", "new"}:
        pairs = {key: zip(seeds["base"][key], seeds["new"][key], strict=True) for key in keys}
        seeds[H] = {key: [harmonic_mean(*pair) for pair in each] for key, each in pairs.items()}
        zero_shot[H] = harmonic_mean(zero_shot["base"], zero_shot["new"])
        base, new = resampled["base"], resampled["new"]
        resampled[H] = {key: 2 * base[key] * new[key] / np.maximum(base[key] + new[key], 1e-12) for key in base}
    return Scores(seeds, resampled, zero_shot)


def significance(scores: Scores, test: str, methods: Sequence[str], shots: int) -> dict[str, Any]:
    """Return the best method for a number of shots, and how the others differ from it and from zero-shot.

    Args:
        scores: The scores.
        test: Test set, or `H`.
        methods: Names of the methods.
        shots: Training images per class.
    """
    rows = [ZERO_SHOT, *methods]
    best = max(rows, key=lambda method: scores.mean(test, method, shots))
    found: dict[str, Any] = {"best": best, "others": {}}
    for method in rows:
        below = scores.samples(test, best, shots) - scores.samples(test, method, shots)
        gain = scores.samples(test, method, shots) - scores.samples(test, ZERO_SHOT, shots)
        found["others"][method] = {
            "below_best": scores.mean(test, best, shots) - scores.mean(test, method, shots),
            "below_best_interval": interval(below),
            "is_like_best": method == best or is_noise(below),
            "gain": scores.mean(test, method, shots) - scores.zero_shot[test],
            "gain_interval": interval(gain),
            "gain_is_noise": method == ZERO_SHOT or is_noise(gain),
        }
    return found


def write_report(
    plan: Plan, arguments: CompareArguments, cells: Sequence[Cell], run: dict[str, Any], command: str
) -> str:
    """Write `report.md`, its figures and tables, and `results.json`, and return the text to print.

    Args:
        plan: The plan.
        arguments: Arguments of the comparison.
        cells: The cells, which are complete.
        run: Content of `results.json` of a run on the same data, before the first seed.
        command: The command line.
    """
    directory, methods, shots = Path(arguments.output_dir), plan.methods, plan.shots
    answers = read_all(cells, directory)
    scores = scores_of(answers, methods, shots, arguments.resamples)
    compared = {test: {k: significance(scores, test, methods, k) for k in shots} for test in scores.seeds}
    rows = class_rows(answers, methods, shots)
    write_classes(directory / CLASSES_FILE, rows)
    write_changes(directory / CHANGES_FILE, answers, methods, shots)
    seconds = {cell: cell.seconds(directory) or 0.0 for cell in cells}
    results = {cell: cell.results(directory) for cell in cells}
    weights = {cell: next(iter(each["seeds"].values()))["bytes"]["weights"] for cell, each in results.items()}
    used = {cell.method: each["arguments"] for cell, each in results.items()}

    figures = []
    for test in scores.seeds:
        name = CURVES_FILE if len(scores.seeds) == 1 else CURVES_FILE.replace(".png", f"_{test.lower()}.png")
        lines = {
            method: {k: (scores.score(test, method, k).mean, scores.score(test, method, k).std) for k in shots}
            for method in methods
        }
        title = f"{run['data']['name']}{_of(scores, test)}, {name_of(plan)}"
        plot_accuracy_by_shots(lines, scores.zero_shot[test], title, directory / name)
        figures.append(f"![{escape(f'Accuracy by shots, {title}')}]({name})")
    sections = [
        *(accuracy_section(scores, test, methods, shots, compared[test]) for test in scores.seeds),
        *(significance_section(scores, test, shots, compared[test], arguments.resamples) for test in scores.seeds),
        cost_section(plan, seconds, weights),
        change_section(answers, methods, max(shots)),
        *class_sections(rows, methods, max(shots), next(iter(scores.seeds)), scores),
    ]
    blocks = [f"# Comparison of methods on {escape(run['data']['name'])}", data_words(run, arguments, plan)]
    blocks += [section.markdown() for section in sections[: len(scores.seeds)]]
    blocks += figures
    blocks += [section.markdown() for section in sections[len(scores.seeds) :]]
    blocks.append(settings_words(plan, arguments, used, command))
    write_text(directory / REPORT_FILE, "\n\n".join(blocks) + "\n")
    write_results(
        directory,
        {
            "task": "image-classification",
            "comparison": True,
            "protocol": arguments.protocol,
            "backbone": arguments.backbone,
            "data": run["data"],
            "zero_shot": scores.zero_shot,
            "methods": {
                method: {
                    str(k): {
                        **{test: vars(scores.score(test, method, k)) for test in scores.seeds},
                        "by_seed": {test: scores.seeds[test][method, k] for test in scores.seeds},
                        "seconds": [seconds[cell] for cell in cells if (cell.method, cell.shots) == (method, k)],
                        "bytes": max(weights[cell] for cell in cells if (cell.method, cell.shots) == (method, k)),
                    }
                    for k in shots
                }
                for method in methods
            },
            "significance": {"resamples": arguments.resamples, "level": 0.95, "tests": compared},
            "seeds": arguments.seeds,
            "left_out": plan.left_out,
            "left_out_shots": plan.left_out_shots,
            "settings": plan.settings,
            "estimated_seconds": {name: cost.as_json() for name, cost in plan.costs.items()},
            **origin(command),
        },
    )
    shown = [section.markdown() for section in sections[: 2 * len(scores.seeds)]]
    return "\n\n".join([*shown, f"Saved: {directory / REPORT_FILE}"])


def name_of(plan: Plan) -> str:
    """Return the Hub id of the backbone, or the name of its folder."""
    path = Path(plan.settings["backbone"])
    return path.name if path.is_absolute() else str(path)


def data_words(run: dict[str, Any], arguments: CompareArguments, plan: Plan) -> str:
    """Return the paragraph about the data."""
    tests = "; ".join(
        f"{test['test_images']} test images of {test['classes']} classes" for test in run["tests"].values()
    )
    return escape(
        f"Backbone {name_of(plan)}, protocol {arguments.protocol}, {tests}. Each seed "
        f"({', '.join(map(str, arguments.seeds))}) is one sample of training images, the same for all methods. "
        "Samples with fewer shots are part of those with more."
    )


def accuracy_section(
    scores: Scores, test: str, methods: Sequence[str], shots: Sequence[int], compared: dict[int, dict[str, Any]]
) -> Section:
    """Return the table of accuracies of a test set."""
    table = [["", *(f"{k} shot{'s' if k > 1 else ''}" for k in shots)]]
    for method in [ZERO_SHOT, *methods]:
        row = [method]
        for k in shots:
            text = (
                percent(scores.zero_shot[test]) if method == ZERO_SHOT else score_text(scores.score(test, method, k))
            )
            row.append(text + (" ≈" if compared[k]["others"][method]["is_like_best"] else ""))
        table.append(row)
    what = "Harmonic mean of base and new accuracy" if test == H else "Accuracy"
    seeds = len(next(iter(scores.seeds[test].values())))
    deviation = f", mean ± population deviation over {seeds} seeds" if seeds > 1 else ", one seed"
    note = f"{what} in %{deviation}. ≈: the best of the column, and all that cannot be told apart from it (see below)."
    return Section(f"Accuracy{_of(scores, test)}", table, note)


def _of(scores: Scores, test: str) -> str:
    return "" if len(scores.seeds) == 1 else ", harmonic mean" if test == H else f", {test}"


def significance_section(
    scores: Scores, test: str, shots: Sequence[int], compared: dict[int, dict[str, Any]], resamples: int
) -> Section:
    """Return the table of the best methods and those that cannot be told apart from them."""
    table = [["Shots", "Best", "Score", "Not told apart from it", "Not told apart from zero-shot"]]
    for k in shots:
        best, others = compared[k]["best"], compared[k]["others"]
        alike = [name for name, each in others.items() if each["is_like_best"] and name != best]
        no_gain = [name for name, each in others.items() if each["gain_is_noise"] and name != ZERO_SHOT]
        score = percent(scores.mean(test, best, k))
        table.append([str(k), best, score, ", ".join(alike) or NO_VALUE, ", ".join(no_gain) or NO_VALUE])
    note = (
        f"Paired bootstrap over the test images, with {resamples} samples: two methods are told apart if the 95 % "
        "interval of the difference of their scores, means over the seeds, does not contain 0. The interval covers "
        "the choice of test images, not that of training images, which the deviation over seeds shows; it is not "
        "corrected for the number of comparisons."
    )
    return Section(f"Which differences are more than noise{_of(scores, test)}", table, note)


def cost_section(plan: Plan, seconds: dict[Cell, float], weights: dict[Cell, int]) -> Section:
    """Return the table of times and sizes."""
    table = [["", *(f"{k} shot{'s' if k > 1 else ''}: s" for k in plan.shots), "All runs: s", "Weights: kB"]]
    for method in plan.methods:
        of_method = {cell: value for cell, value in seconds.items() if cell.method == method}
        means = [np.mean([value for cell, value in of_method.items() if cell.shots == k]) for k in plan.shots]
        size = max(weights[cell] for cell in of_method) / 1000
        table.append([method, *(f"{mean:.1f}" for mean in means), f"{sum(of_method.values()):.0f}", f"{size:.1f}"])
    note = (
        "Seconds for one run on one core: model, training, test and files; mean over the seeds. The features of the "
        "test images and of stored views are computed before, once for all methods, and are not included."
    )
    return Section("Time and size", table, note)


def change_section(answers: AllAnswers, methods: Sequence[str], shots: int) -> Section:
    """Return the table of how many answers change in comparison with zero-shot."""
    table = [["", "Test", "Changed", "Wrong to right", "Right to wrong"]]
    for method in methods:
        for role, zero_shot in answers.zero_shot.items():
            predicted, right = answers.predicted(method, shots, role), answers.right(method, shots, role)
            changed = (predicted != zero_shot.predicted).mean()
            gained, lost = (right > zero_shot.right).mean(), (right < zero_shot.right).mean()
            table.append([method, role, *map(percent, (float(changed), float(gained), float(lost)))])
    note = f"Share of the test images in %, mean over the seeds, with {shots} shots. `{CHANGES_FILE}` lists them."
    return Section("Answers that change in comparison with zero-shot", table, note)


def class_sections(
    rows: Sequence[Sequence[Any]], methods: Sequence[str], shots: int, test: str, scores: Scores
) -> list[Section]:
    """Return the table of the classes that gain and lose most with the best method."""
    best = max(methods, key=lambda method: scores.mean(test, method, shots), default=None)
    if best is None:
        return []
    own = sorted((row for row in rows if row[:3] == [best, shots, test]), key=lambda row: -row[7])
    ends = own if len(own) <= 2 * SHOWN_CLASSES else [*own[:SHOWN_CLASSES], *own[-SHOWN_CLASSES:]]
    table = [["Class", "Test images", "Zero-shot", best, "Gain"]]
    table += [[str(row[3]), str(row[4]), percent(row[5]), percent(row[6]), f"{100 * row[7]:+.2f}"] for row in ends]
    note = f"Recall in %, mean over the seeds. `{CLASSES_FILE}` has all classes, methods and shots."
    return [Section(f"Classes that gain and lose most, {best}, {shots} shots", table, note)]


def settings_words(plan: Plan, arguments: CompareArguments, used: dict[str, dict[str, Any]], command: str) -> str:
    """Return the part about settings, methods that were left out, and the command.

    Args:
        plan: The plan.
        arguments: Arguments of the comparison.
        used: Arguments of each method, as its runs report them.
        command: The command line.
    """
    settings = "those of the papers" if arguments.recipe == "paper" else "those of `hf-prompt train` for a laptop"
    blocks = ["## Settings", f"Settings of the methods (`--recipe {arguments.recipe}`): {settings}."]
    by_views: dict[Any, list[str]] = {}
    for method, each in used.items():
        by_views.setdefault(each.get("augmented_views"), []).append(method)
    for views, methods in by_views.items():
        if views is None:
            said = "trained on new random crops in each epoch, as in their papers"
        else:
            said = f"trained on stored features of {views} random crops of each image"
            if arguments.recipe != "paper":
                said += "; --recipe paper uses the number of the paper, or new crops in each epoch"
        blocks.append(escape(f"{', '.join(methods)}: {said}."))
    if plan.left_out:
        left_out = [
            f"- {escape(f'{name}: {reason}.')} {flag_of(name, plan)}" for name, reason in plan.left_out.items()
        ]
        blocks.append("Left out:\n\n" + "\n".join(left_out))
    blocks += [escape(f"Left out {shots} shots: {reason}.") for shots, reason in plan.left_out_shots.items()]
    blocks.append(
        f"Each run is in `runs/METHOD/shots-K/seed-N`, with its `predictions.csv`.\n\n    {without_tokens(command)}"
    )
    return "\n\n".join(blocks)
