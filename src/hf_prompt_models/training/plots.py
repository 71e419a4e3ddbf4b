"""Pictures of a run."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_prompt_models.data.files import replacing


def plot_confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], path: str | os.PathLike, kind: str = "image"
) -> None:
    """Write a confusion matrix as PNG: rows are true classes, colour is the share of a row, small ones get numbers.

    Args:
        counts: (classes, classes), rows true, columns predicted.
        class_names: one name a class.
        path: of the PNG.
        kind: what one of those counted is called.
    """
    size = len(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(max(4.0, 0.45 * size), 16.0)
    figure = Figure(figsize=(side + 2.5, side + 1.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    font = min(9.0, 0.55 * 72 * side / size)  # in points: a row is 72 * side / size high
    axes.set_xticks(range(size), class_names, rotation=90, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), class_names, fontsize=font, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum()} {kind}s right")
    if size <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=font)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="share of the true class")
    with replacing(path) as beside:
        figure.savefig(beside, dpi=120, format="png")


def plot_learning_curve(log_history: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
    """Write training loss, learning rate and, where there were evaluations, test accuracy against epochs as PNG.

    Args:
        log_history: the Trainer's `state.log_history`.
        path: of the PNG.
    """
    training = [entry for entry in log_history if "loss" in entry]
    evaluations = [entry for entry in log_history if "eval_accuracy" in entry]
    figure = Figure(figsize=(8, 7 if evaluations else 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if evaluations else 1, 1, sharex=True, squeeze=False)[:, 0]
    epochs = [entry["epoch"] for entry in training]
    panels[0].plot(epochs, [entry["loss"] for entry in training], color="tab:blue")
    panels[0].set_ylabel("training loss", color="tab:blue")
    panels[0].set_ylim(0, 1.05 * max((entry["loss"] for entry in training), default=1))
    rates = panels[0].twinx()
    rates.plot(epochs, [entry["learning_rate"] for entry in training], color="tab:gray", alpha=0.6, linestyle="--")
    rates.set_ylabel("learning rate (dashed)", color="tab:gray")
    if evaluations:
        panels[1].plot([e["epoch"] for e in evaluations], [e["eval_accuracy"] for e in evaluations], marker=".")
        panels[1].set_ylabel("test accuracy")
    panels[-1].set_xlabel("epoch")
    with replacing(path) as beside:
        figure.savefig(beside, dpi=120, format="png")


def plot_accuracy_by_shots(
    lines: Mapping[str, Mapping[int, tuple[float, float]]],
    zero_shot: float | None,
    title: str,
    path: str | os.PathLike,
    kind: str = "image",
) -> None:
    """Write accuracy against training examples a class as PNG: a star at 0 for zero-shot, a line for each variant.

    Args:
        lines: for each variant by its label, mean and deviation of the accuracy (0 to 1) by number of shots.
        zero_shot: accuracy of hand-written prompts, or None.
        title: of the picture.
        path: of the PNG.
        kind: what one of those trained on is called.
    """
    figure = Figure(figsize=(6, 4.5 + 0.2 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (label, points) in enumerate(lines.items()):
        shots = sorted(points)
        means, deviations = ([100 * points[k][i] for k in shots] for i in (0, 1))
        bars = deviations if any(deviations) else None  # a bar of no height would be two caps in the marker
        label = textwrap.fill(label, 80)
        axes.errorbar(shots, means, yerr=bars, label=label, marker="osD^vPX"[number % 7], markersize=5, capsize=3)
    if zero_shot is not None:
        axes.plot(0, 100 * zero_shot, label="zero-shot", color="black", marker="*", markersize=11, linestyle="none")
    largest = max((k for points in lines.values() for k in points), default=1)
    ticks = [0]
    for count in sorted({k for points in lines.values() for k in points}):
        if count - ticks[-1] >= largest / 20:  # else the numbers would touch
            ticks.append(count)
    axes.set_xticks(ticks)
    axes.set_xlabel(f"training {kind}s a class")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(textwrap.fill(title, 60), fontsize=11, parse_math=False)
    axes.grid(alpha=0.3)
    one_row = sum(len(label) + 8 for label in lines) < 60
    legend = figure.legend(loc="outside lower center", ncols=len(lines) + 1 if one_row else 1, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=120, format="png")
