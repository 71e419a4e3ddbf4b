"""Pictures of a run that writes texts."""

import os
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_prompt_models.data.files import replacing
from hf_prompt_models.prefix_lm.processing_prefix_lm import IMAGE_TOKEN
from hf_prompt_models.training.written_texts import WrittenTexts


COLUMNS, WIDTH, LINES, LINE_HEIGHT = 4, 46, 7, 0.068
"""Of the picture: examples side by side; of a text: characters in a line, lines, and their share of its panel."""


def plot_written(written: WrittenTexts, path: str | os.PathLike, count: int = 12) -> None:
    """Write a picture of examples: above each its title, beneath it what was written and, in grey, the reference.

    Args:
        written: texts for examples.
        path: of the PNG.
        count: show so many, evenly drawn from all.
    """
    total = len(written.texts)
    count = min(count, total)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 5.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[3, 2.7] * rows)
    for axes in panels.flat:
        axes.set_axis_off()
    for place in range(count):
        index = place * total // count
        example = written.examples[index]
        picture, words = panels[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
        if example.images:
            # The last: of a few-shot prompt, the one that is asked about.
            shown = example.images[-1 if example.prompt.count(IMAGE_TOKEN) > 1 else 0]
            picture.imshow(shown.load())
        title = example.prompt.replace(IMAGE_TOKEN, "▣ ").strip()
        picture.set_title(_wrapped(title, 2), fontsize=10, fontweight="bold", parse_math=False)
        text = _wrapped(written.texts[index] or "(nothing)", LINES)
        words.text(0, 1, text, va="top", fontsize=9, color="tab:blue", parse_math=False)
        below = 1 - LINE_HEIGHT * (text.count("\n") + 1.7)
        text = _wrapped(example.references[0], LINES)
        words.text(0, below, text, va="top", fontsize=9, color="0.45", parse_math=False)
    figure.suptitle("written (blue) and reference (grey)", fontsize=10)
    with replacing(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a model may write any sign; the font draws a box for some
        figure.savefig(beside, format=Path(path).suffix[1:] or "png", dpi=100)


def _wrapped(text: str, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, max_lines=lines, placeholder=" …"))


def plot_writing_curve(log_history: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
    """Write the losses of training and evaluation and, where texts were written, their scores against epochs as PNG.

    Args:
        log_history: the Trainer's `state.log_history`.
        path: of the PNG.
    """
    names = {name for entry in log_history for name in entry if name.startswith("eval_")}
    scores = sorted(
        names & {f"eval_{name}" for name in ("bleu_4", "rouge_l", "cider_d", "vqa_accuracy", "exact_match")}
    )
    figure = Figure(figsize=(8, 7 if scores else 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    for axes, shown in zip(panels, (["loss", "eval_loss"], scores), strict=False):
        for name in shown:
            points = [(entry["epoch"], entry[name]) for entry in log_history if name in entry]
            if points:
                axes.plot(*zip(*points, strict=True), label=name.removeprefix("eval_") if shown is scores else name)
        axes.legend()
    panels[0].set_ylabel("loss")
    panels[-1].set_xlabel("epoch")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=120)
