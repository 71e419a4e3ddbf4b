"""Figures of a run."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hf_prompt_models.utils.figures import (
    BLUE,
    COLOURS,
    GREY,
    drawable,
    longest,
    new_figure,
    save_figure,
    shortened,
    wrapped,
)


NAMED_CLASSES = 150
"""With more classes, names would be illegible, and class numbers are shown instead."""
NUMBERED_CLASSES = 20
"""With more classes, the cells are too small for numbers."""
LABEL_LETTERS = 48
TICK_PAD = 3.0
"""Distance of the names of classes from the axes, in points."""


def plot_confusion_matrix(
    counts: np.ndarray,
    class_names: Sequence[str],
    path: str | os.PathLike,
    kind: str = "image",
    models: int = 1,
) -> None:
    """Write a confusion matrix as PNG.

    Rows are true classes, and the colour of a cell is its share of the row. Small matrices show the counts, too.

    Args:
        counts: (classes, classes), rows are true classes, columns predicted ones.
        class_names: one name per class.
        path: file to write.
        kind: name of an example, such as "image".
        models: number of models over which the counts are summed. Each was tested on all images or videos.
    """
    size, total = len(class_names), int(counts.sum())
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    named = size <= NAMED_CLASSES
    names = [shortened(name, LABEL_LETTERS) for name in class_names] if named else []
    side = min(max(4.5, 0.45 * size), 16.0)
    font = min(9.0, 0.55 * 72 * side / size)  # in points: a row is 72 * side / size high
    margin = 0.65 * font / 72 * longest(names)
    width = side + margin + 1.8
    figure = new_figure(width, side + margin + 1.4)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if named:
        axes.set(xticks=[], yticks=[])
        across, below, _ = axes.get_xaxis_text1_transform(TICK_PAD)
        up, _, left = axes.get_yaxis_text1_transform(TICK_PAD)
        for place, name in enumerate(names):  # texts are drawn in a third of the time that ticks take
            axes.text(place, 0, name, transform=across, va=below, ha="center", rotation=90, fontsize=font)
            axes.text(0, place, name, transform=up, va="center", ha=left, fontsize=font)
    figure.supxlabel("predicted class" if named else "number of the predicted class", fontsize=10)
    figure.supylabel("true class" if named else "number of the true class", fontsize=10)
    each = total // models
    examples = f"{each} {kind}{'s' * (each != 1)}"
    right = np.trace(counts) / max(total, 1)
    over = f", mean of {models} seeds; cells count all seeds" if models > 1 else ""
    title = f"{right:.1%} of {examples} right{over} (chance: {1 / size:.1%})"
    figure.suptitle(wrapped(title, int(10 * width)), fontsize=11)
    if size <= NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=font)
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true class")
    save_figure(figure, path)


def plot_learning_curve(
    log_history: Sequence[dict[str, Any]],
    path: str | os.PathLike,
    title: str = "Training",
    baselines: Mapping[str, float] | None = None,
    measure: str = "test accuracy",
) -> None:
    """Plot training loss, learning rate and, if there were evaluations, test accuracy over epochs as PNG.

    Args:
        log_history: `state.log_history` of the Trainer.
        path: file to write.
        title: title of the figure.
        baselines: scores to compare the accuracy with, by name, from 0 to 1, such as chance and zero-shot.
        measure: label of `eval_accuracy`.
    """
    training = [entry for entry in log_history if "loss" in entry]
    evaluations = [entry for entry in log_history if "eval_accuracy" in entry]
    figure = new_figure(8, 7 if evaluations else 4)
    panels = figure.subplots(2 if evaluations else 1, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(wrapped(title, 90), fontsize=12)
    epochs = [entry["epoch"] for entry in training]
    losses = [entry["loss"] for entry in training]
    (loss,) = panels[0].plot(epochs, losses, color=BLUE, marker=".", label="training loss")
    panels[0].set_ylabel("training loss")
    finite = [value for value in losses if math.isfinite(value)]
    if not training:
        panels[0].text(0.5, 0.5, "no loss was logged", ha="center", transform=panels[0].transAxes)
    elif finite:
        panels[0].set_ylim(min(0, 1.05 * min(finite)), 1.05 * max(*finite, 1e-9))
    rates = panels[0].twinx()
    values = [entry["learning_rate"] for entry in training]
    (rate,) = rates.plot(epochs, values, color=GREY, linestyle="--", label="learning rate")
    rates.set_ylabel("learning rate")
    panels[0].legend(handles=[loss, rate], fontsize=9)
    if evaluations:
        shown = [100 * entry["eval_accuracy"] for entry in evaluations]
        panels[1].plot([entry["epoch"] for entry in evaluations], shown, marker=".", color=BLUE, label="model")
        draw_baselines(panels[1], baselines or {})
        panels[1].set_ylabel(f"{measure} (%)")
        panels[1].legend(fontsize=9)
    for axes in panels:
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("epoch")
    save_figure(figure, path)


def draw_baselines(axes: Axes, baselines: Mapping[str, float], scale: float = 100) -> None:
    """Draw a horizontal line for each baseline.

    Args:
        axes: axes to draw into.
        baselines: scores by name.
        scale: factor for the scores; 100 for percent.
    """
    for number, (name, value) in enumerate(baselines.items()):
        style = (":", "--", "-.")[number % 3]
        axes.axhline(scale * value, color=GREY, linestyle=style, linewidth=1.4, label=name)


def plot_accuracy_by_shots(
    lines: Mapping[str, Mapping[int, tuple[float, float]]],
    zero_shot: float | Mapping[str, float] | None,
    title: str,
    path: str | os.PathLike,
    kind: str = "image",
    chance: float | None = None,
    measure: str = "accuracy",
) -> None:
    """Plot accuracy over training examples as PNG: a star at 0 for zero-shot, a line for each variant.

    Args:
        lines: by label of each variant, mean and deviation of the accuracy (0 to 1) by number of shots.
        zero_shot: accuracy of hand-written prompts; several by label; or `None`.
        title: title of the figure.
        path: file to write.
        kind: name of a training example. Shots are the total number for `"expression"`, otherwise per class.
        chance: accuracy of guessing, from 0 to 1, if known.
        measure: name of the plotted score.
    """
    labels = {label: wrapped(label, 80) for label in lines}
    stars = zero_shot if isinstance(zero_shot, Mapping) else {} if zero_shot is None else {"zero-shot": zero_shot}
    entries = len(lines) + len(stars) + (chance is not None)
    rows = sum(label.count("\n") + 1 for label in labels.values()) + len(stars)
    figure = new_figure(7, 4.6 + 0.2 * rows)
    axes = figure.add_subplot()
    for number, (label, points) in enumerate(lines.items()):
        shots = sorted(points)
        means, deviations = ([100 * points[k][i] for k in shots] for i in (0, 1))
        bars = deviations if any(deviations) else None  # a bar without height would show as two caps in the marker
        axes.errorbar(
            shots,
            means,
            yerr=bars,
            label=labels[label],
            color=COLOURS[number % len(COLOURS)],
            marker="osD^vPX"[number % 7],
            linestyle=("-", "--", "-.", ":")[number // len(COLOURS) % 4],
            markersize=5,
            capsize=3,
        )
    for number, (label, value) in enumerate(stars.items()):
        marker = "*pdh8<>"[number % 7]
        axes.plot(0, 100 * value, label=wrapped(label, 80), color="black", marker=marker, markersize=11, linestyle="")
    if chance is not None:
        draw_baselines(axes, {"chance": chance})
    largest = max((k for points in lines.values() for k in points), default=1)
    ticks = [0]
    for count in sorted({k for points in lines.values() for k in points}):
        if count - ticks[-1] >= largest / 20:  # otherwise the tick labels would touch
            ticks.append(count)
    axes.set_xticks(ticks)
    axes.set_xlabel("training expressions" if kind == "expression" else f"training {kind}s per class")
    axes.set_ylabel(f"{measure} (%)")
    axes.set_title(wrapped(title, 60), fontsize=11)
    axes.grid(alpha=0.3)
    one_row = sum(len(drawable(label)) + 8 for label in (*labels, *stars)) < 60
    figure.legend(loc="outside lower center", ncols=entries if one_row else 1, fontsize=9)
    save_figure(figure, path)
