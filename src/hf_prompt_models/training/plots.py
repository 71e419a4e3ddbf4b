"""Pictures of a run."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_confusion_matrix(counts: np.ndarray, class_names: Sequence[str], path: str | os.PathLike) -> None:
    """Write a confusion matrix as PNG: rows are true classes, colour is the share of a row, small ones get numbers.

    Args:
        counts: (classes, classes), rows true, columns predicted.
        class_names: one name a class.
        path: of the PNG.
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
    axes.set_title(f"{np.trace(counts) / max(counts.sum(), 1):.1%} of {counts.sum()} images right")
    if size <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=font)
    figure.colorbar(picture, ax=axes, shrink=0.6, label="share of the true class")
    figure.savefig(path, dpi=120)


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
    figure.savefig(path, dpi=120)
