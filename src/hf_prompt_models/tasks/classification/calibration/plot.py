"""Reliability diagrams."""

import os

import numpy as np
from matplotlib.ticker import PercentFormatter

from hf_prompt_models.metrics.classification import expected_calibration_error, reliability_bins
from hf_prompt_models.utils.figures import BLUE, GREY, ORANGE, new_figure, save_figure, wrapped


def plot_reliability(
    probabilities: np.ndarray, labels: np.ndarray, path: str | os.PathLike, kind: str = "image", models: int = 1
) -> None:
    """Write a reliability diagram as PNG: the accuracy by the probability of the predicted class, and the counts.

    Args:
        probabilities: Class probabilities of shape (examples, classes).
        labels: Class indices of shape (examples,).
        path: File to write.
        kind: Name of an example, such as "image".
        models: Number of models whose predictions these are.
    """
    bins, error = reliability_bins(probabilities, labels), expected_calibration_error(probabilities, labels)
    middles, width = (bins.edges[:-1] + bins.edges[1:]) / 2, bins.edges[1]
    filled = bins.counts > 0
    figure = new_figure(6, 6.5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.bar(middles[filled], bins.accuracy[filled], 0.94 * width, color=BLUE, label="accuracy")
    top.plot(bins.confidence[filled], bins.confidence[filled], "o", color=ORANGE, label="mean probability")
    top.vlines(bins.confidence[filled], bins.accuracy[filled], bins.confidence[filled], color=ORANGE)
    top.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    top.set_ylabel("accuracy")
    top.set_xlim(0, 1)
    top.set_ylim(0, 1)
    top.legend(loc="upper left", fontsize=9)
    bottom.bar(middles, bins.counts, 0.94 * width, color=GREY)
    for middle, count in zip(middles[filled], bins.counts[filled], strict=True):
        bottom.annotate(str(count), (middle, count), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    bottom.set_ylim(0, 1.2 * bins.counts.max())
    bottom.set_ylabel(f"{kind}s")
    bottom.set_xlabel("probability of the predicted class")
    for axes in (top, bottom):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    top.yaxis.set_major_formatter(PercentFormatter(1))
    each = len(labels) // models
    over = f", {models} seeds" if models > 1 else ""
    title = f"Expected calibration error {error:.2%} on {each} {kind}{'s' * (each != 1)}{over}"
    figure.suptitle(wrapped(title, 70), fontsize=11)
    save_figure(figure, path)
