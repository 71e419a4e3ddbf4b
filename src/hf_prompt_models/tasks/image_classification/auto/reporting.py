"""Results of a search as text, table, figure, and part of the model card."""

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hf_prompt_models.hub.model_card import RUN_TITLE, RunOnCard, one_line
from hf_prompt_models.tasks.cards import backbone_title, facts, hub_id, markdown
from hf_prompt_models.tasks.image_classification.auto.candidates import ADAPTER
from hf_prompt_models.tasks.image_classification.auto.cross_validation import Outcome, difference
from hf_prompt_models.tasks.image_classification.auto.estimate import LEVEL, Interval, wilson
from hf_prompt_models.tasks.image_classification.auto.search import Search
from hf_prompt_models.utils.figures import BLUE, GREY, ORANGE, new_figure, save_figure, shortened
from hf_prompt_models.utils.files import writing_csv


CANDIDATES_FILE, CANDIDATES_FIGURE = "candidates.csv", "candidates.png"
NOISE = 1.645
"""Number of standard errors within which a difference is called noise, which is a 90 % interval."""
SHOWN = 3
SHOWN_ON_CARD = 10


def results_of_search(search: Search) -> dict[str, Any]:
    """Return what `results.json` reports about a search."""
    winner = search.winner
    chosen = {
        "name": winner.name,
        "method": winner.method,
        "templates": None if winner.prompts.templates is None else list(winner.prompts.templates),
        "arguments": {} if winner.arguments is None else vars(winner.arguments),
    }
    curve, doubling = search.curve, search.doubling
    return {
        "winner": chosen,
        "estimate": _as_dict(search.estimate),
        "held_out_images": search.tested,
        "level": LEVEL,
        "candidates": [_row(search, each) for each in search.outcomes],
        "left_out": search.left_out,
        "learning_curve": curve and {"images_per_class": list(curve.images), "accuracy": list(curve.accuracies)},
        "twice_the_images": _as_dict(doubling),
        "seconds": round(search.seconds, 1),
    }


def _as_dict(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else vars(interval)


def _row(search: Search, outcome: Outcome) -> dict[str, Any]:
    """Return the line of a candidate in `candidates.csv`."""
    candidate, tested = outcome.candidate, search.folds >= 0
    by_fold = [outcome.outer[search.folds == fold].mean() for fold in np.unique(search.folds[tested])]
    low, high = wilson(outcome.accuracy, search.tested)
    return {
        "candidate": candidate.name,
        "method": candidate.method,
        "adapter_type": candidate.kind if candidate.method == ADAPTER else "",
        "crops": candidate.views,
        "prompts": candidate.prompts.name,
        "accuracy": round(outcome.accuracy, 4),
        "deviation_over_folds": round(float(np.std(by_fold)), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "seconds_per_training": round(outcome.seconds, 3),
        "left_out": "",
    }


def write_candidates(path: str | os.PathLike, search: Search) -> None:
    """Write `candidates.csv`: the candidates, best first, then those that were left out, with the reason.

    Args:
        path: The file.
        search: The search.
    """
    rows = [_row(search, each) for each in search.outcomes]
    columns = list(rows[0]) if rows else ["candidate", "left_out"]
    rows += [{"candidate": name, "left_out": reason} for name, reason in search.left_out.items()]
    with writing_csv(path) as writer:
        writer.writerow(columns)
        writer.writerows([row.get(column, "") for column in columns] for row in rows)


def plot_search(path: str | os.PathLike, search: Search) -> None:
    """Write a figure with the accuracy of the candidates and the learning curve of the winner.

    Args:
        path: The file.
        search: The search.
    """
    if search.estimate is None:
        return
    figure = new_figure(11, max(3.5, 1.2 + 0.28 * len(search.outcomes)))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _plot_candidates(left, search)
    _plot_curve(right, search)
    save_figure(figure, path)


def _plot_candidates(axes: Axes, search: Search) -> None:
    outcomes = search.outcomes[::-1]
    for place, each in enumerate(outcomes):
        low, high = wilson(each.accuracy, search.tested)
        colour = ORANGE if each.candidate == search.winner else BLUE
        axes.plot([100 * low, 100 * high], [place, place], color=colour, alpha=0.5)
        axes.plot(100 * each.accuracy, place, "o", color=colour)
    axes.set_yticks(range(len(outcomes)), [shortened(each.candidate.name, 40) for each in outcomes])
    axes.set_xlabel("cross-validated accuracy, %, with 90 % intervals")
    axes.set_title("Candidates (orange: chosen)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def _plot_curve(axes: Axes, search: Search) -> None:
    curve, estimate = search.curve, search.estimate
    assert curve is not None
    assert estimate is not None
    now = search.per_class
    axes.plot(curve.images, [100 * value for value in curve.accuracies], "o", color=ORANGE, label="cross-validated")
    ends = np.geomspace(min(curve.images), 2 * now, 50)
    axes.plot(ends, 100 * (curve.ceiling - curve.slope * ends**-0.5), ":", color=GREY, label="fit")
    errors = [[100 * (estimate.value - estimate.low)], [100 * (estimate.high - estimate.value)]]
    axes.errorbar([now], [100 * estimate.value], errors, fmt="s", color=BLUE, capsize=4, label="estimate, 90 %")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("training images per class")
    axes.set_ylabel("accuracy, %")
    axes.set_title("What more images bring", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


# -- text ------------------------------------------------------------------------------------------------------------


def what_won(search: Search) -> str:
    """Return the line about the winner, and by how much it won."""
    if not search.outcomes:
        return (
            f"Chosen without comparison: {search.winner.name}. No image could be held out, because no class has two "
            "different images."
        )
    best, zero_shot = search.outcomes[0], search.zero_shot
    said = f"Chosen: {search.winner.name}, the best of {len(search.outcomes)} candidates"
    said += f" with {best.accuracy:.1%} in cross-validation"
    parts = []
    if zero_shot is not None and zero_shot is not best:
        parts.append(f"zero-shot {zero_shot.accuracy:.1%} ({_compared(best, zero_shot)})")
    others = [each for each in search.outcomes[1:] if each is not zero_shot]
    if others:
        runner_up = others[0]
        parts.append(f"runner-up {runner_up.candidate.name} {runner_up.accuracy:.1%} ({_compared(best, runner_up)})")
    return f"{said}; {', '.join(parts)}." if parts else f"{said}."


def _compared(best: Outcome, other: Outcome) -> str:
    mean, error = difference(best.outer, other.outer)
    noise = ", within noise" if abs(mean) <= NOISE * error or mean == 0 else ""
    return f"{100 * mean:+.1f} points{noise}"


def what_to_expect(search: Search) -> str:
    """Return the line about the estimated test accuracy."""
    if search.estimate is None:
        return "Estimated test accuracy: unknown, because every image was needed for training."
    estimate = search.estimate
    return (
        f"Estimated test accuracy: {estimate.value:.1%} (90 % interval {estimate.low:.1%} to {estimate.high:.1%}), "
        f"from {search.tested} images, each classified by a choice that was made and trained without it."
    )


def what_more_brings(search: Search) -> str:
    """Return the line about what more images would bring."""
    if search.estimate is None:
        return "More images: with at least two per class, the candidates can be compared."
    now, doubling = search.per_class, search.doubling
    if doubling is None:
        if search.winner.arguments is None:
            return (
                f"More images: none of the trained candidates is better than {search.winner.name} on "
                f"{now:.3g} images per class, so it is unknown from how many on training helps."
            )
        return f"More images: unknown, because {now:.3g} images per class are too few for a learning curve."
    interval = f"90 % interval {100 * doubling.low:+.1f} to {100 * doubling.high:+.1f}"
    return (
        f"More images: {2 * now:.3g} instead of {now:.3g} per class would bring about {100 * doubling.value:+.1f} "
        f"points ({interval}) if the learning curve continues."
    )


def three_lines(search: Search) -> list[str]:
    """Return the three lines of the summary."""
    return [what_won(search), what_to_expect(search), what_more_brings(search)]


def summarise_search(search: Search, directory: Path, train_dir: str) -> str:
    """Return the text that `hf-prompt train auto` prints.

    Args:
        search: The search.
        directory: Folder of the model.
        train_dir: Source of the training data.
    """
    lines = three_lines(search)
    notes = []
    if search.outcomes and search.tested < len(search.images):
        notes.append(
            f"{len(search.images) - search.tested} of the {len(search.images)} images are not part of the estimate, "
            "because their class has no other image that differs from them."
        )
    copies = len(search.images) - len(np.unique(search.groups))
    if copies:
        notes.append(
            f"{copies} images of {train_dir} are as similar to others of their class as copies. They were kept "
            "together in cross-validation."
        )
    notes += [f"Left out: {name}: {reason}." for name, reason in search.left_out.items()]
    folder = shlex.quote(str(directory))
    return "\n".join(
        [
            *lines,
            *(["", *notes] if notes else []),
            "",
            f"{directory}: the model, trained on all {len(search.images)} images in {search.seconds:.0f} s; "
            f"{CANDIDATES_FILE} and {CANDIDATES_FIGURE} compare the candidates",
            f"Evaluate with: hf-prompt evaluate {folder} --test_dir DIR",
            f"Predict with: hf-prompt predict {folder} photo.jpg",
        ]
    )


def card_of_search(search: Search, results: dict[str, Any], seed: str) -> RunOnCard:
    """Return the part of the model card that describes a search.

    Args:
        search: The search.
        results: Content of `results.json`.
        seed: Seed of the search.
    """
    own = {
        "Backbone": backbone_title(results["backbone"]),
        "Trained on": f"{len(search.images)} images of {len(search.images.class_names)} classes",
        "Chosen by": f"cross-validation of {len(search.outcomes)} candidates on the training images",
    }
    shown = search.outcomes[:SHOWN_ON_CARD]
    table = markdown(
        ["Candidate", "Cross-validated accuracy"],
        [[one_line(each.candidate.name), f"{each.accuracy:.2%}"] for each in shown],
    )
    lines = "\n".join(f"- {one_line(line, 400)}" for line in three_lines(search))
    data = hub_id(results["data"]["train"])
    return RunOnCard(
        text="\n\n".join([RUN_TITLE, facts(results, seed, own), lines, *([table] if shown else [])]),
        datasets=[data] if data else [],
        base_model=hub_id(results["backbone"]),
    )
