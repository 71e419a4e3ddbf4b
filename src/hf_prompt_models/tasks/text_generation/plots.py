"""Figures of a run that generates text."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image, ImageDraw

from hf_prompt_models.prefix_lm.examples import GenerationExample
from hf_prompt_models.prefix_lm.processing_prefix_lm import IMAGE_TOKEN
from hf_prompt_models.tasks.text_generation.generated_texts import GeneratedTexts
from hf_prompt_models.training.plots import draw_baselines
from hf_prompt_models.utils.figures import BLUE, COLOURS, GREY, ORANGE, new_figure, save_figure, wrapped


COLUMNS, COLUMN_INCHES, LETTERS = 3, 4.6, 52
IMAGE_INCHES, LINE_INCHES = 1.9, 0.17
PROMPT_LINES, TEXT_LINES = 14, 7
"""Maximum number of lines of a prompt and of a text. Longer ones end with `…`."""
TILE_PIXELS, MOST_IMAGES = 160, 8
SCORES = ("bleu_4", "rouge_l", "cider_d", "vqa_accuracy", "exact_match")


@dataclass(frozen=True)
class _Panel:
    """Example in a figure: its images, and texts with their colours."""

    images: Sequence[Image.Image]
    texts: Sequence[tuple[str, str, bool]]

    @property
    def lines(self) -> int:
        return sum(text.count("\n") + 1 for text, _, _ in self.texts) + len(self.texts)


def plot_generated_texts(
    written: GeneratedTexts, path: str | os.PathLike, count: int = 12, blind: GeneratedTexts | None = None
) -> None:
    """Write a figure of examples: their images with the prompt, the generated text, and the reference below.

    Args:
        written: Texts for examples. A few-shot prompt shows all of its images, numbered as in its text.
        path: Path of the PNG.
        count: Number of examples to show, evenly spread over all.
        blind: Texts that were generated for some of the examples with black images.
    """
    total = len(written.texts)
    count = min(count, total)
    by_example = {} if blind is None else {id(e): t for e, t in zip(blind.examples, blind.texts, strict=True)}
    chosen = [place * total // count for place in range(count)]
    panels = [_panel(written.examples[i], written.texts[i], by_example.get(id(written.examples[i]))) for i in chosen]
    columns = min(COLUMNS, count)
    rows = [panels[start : start + columns] for start in range(0, count, columns)]
    heights = [height for row in rows for height in (IMAGE_INCHES, LINE_INCHES * max(panel.lines for panel in row))]
    figure = new_figure(COLUMN_INCHES * max(columns, 1.3), sum(heights) + 0.3 * len(rows) + 0.9)
    figure.suptitle(f"{count} of {total} test examples", fontsize=12)
    grid = figure.subplots(2 * len(rows), columns, squeeze=False, height_ratios=heights)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, row in enumerate(rows):
        for column, panel in enumerate(row):
            if panel.images:
                grid[2 * number, column].imshow(_side_by_side(panel.images))
            _write(grid[2 * number + 1, column], panel, heights[2 * number + 1])
    labels = {"prompt": "black", "generated": BLUE, **({"generated for black images": ORANGE} if blind else {})}
    labels["reference"] = GREY
    handles = [Line2D([], [], color=colour, linewidth=5, label=label) for label, colour in labels.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if columns == 1 else 4, fontsize=10)
    save_figure(figure, path, dpi=100)


def _panel(example: GenerationExample, text: str, blind: str | None) -> _Panel:
    images = [image.load() for image in example.images]
    prompt = example.prompt
    for number in range(1, prompt.count(IMAGE_TOKEN) + 1):
        prompt = prompt.replace(IMAGE_TOKEN, f"[image {number}] ", 1)
    parts = [(wrapped(prompt, LETTERS, PROMPT_LINES), "black", True)] if prompt.strip() else []
    parts.append((wrapped(text or "(nothing)", LETTERS, TEXT_LINES), BLUE, False))
    if blind is not None:
        parts.append((wrapped(blind or "(nothing)", LETTERS, TEXT_LINES), ORANGE, False))
    parts.append((wrapped(example.references[0], LETTERS, TEXT_LINES), GREY, False))
    return _Panel(images, parts)


def _write(axes: Axes, panel: _Panel, height: float) -> None:
    """Write the texts of a panel with a height in inches, from its top."""
    top = 1.0
    for text, colour, bold in panel.texts:
        axes.text(0, top, text, va="top", fontsize=9, color=colour, fontweight="bold" if bold else None)
        top -= LINE_INCHES * (text.count("\n") + 1.5) / height


def _side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Return images at one height; several are numbered, with a note if some are left out."""
    if len(images) == 1:
        return images[0].convert("RGB")
    shown = [*images[: MOST_IMAGES - 1], images[-1]] if len(images) > MOST_IMAGES else images
    tiles = [
        image.convert("RGB").resize((max(1, round(image.width * TILE_PIXELS / image.height)), TILE_PIXELS))
        for image in shown
    ]
    strip = Image.new("RGB", (sum(tile.width + 8 for tile in tiles), TILE_PIXELS + 24), "white")
    left = 0
    for place, tile in enumerate(tiles):
        number = len(images) if place == len(tiles) - 1 else place + 1
        gap = "… " if number > place + 1 else ""
        strip.paste(tile, (left, 24))
        ImageDraw.Draw(strip).text((left + 2, 2), f"{gap}{number}", fill="black", font_size=18)
        left += tile.width + 8
    return strip


def plot_generation_curve(
    log_history: Sequence[dict[str, Any]],
    path: str | os.PathLike,
    title: str = "Training",
    baselines: Mapping[str, float] | None = None,
) -> None:
    """Write training and evaluation losses and, if texts were generated, their scores by epoch, as PNG.

    Args:
        log_history: The Trainer's `state.log_history`.
        path: Path of the PNG.
        title: Title of the figure.
        baselines: Scores to compare with, by name.
    """
    names = {name for entry in log_history for name in entry if name.startswith("eval_")}
    scores = [name for name in (f"eval_{score}" for score in SCORES) if name in names]
    figure = new_figure(8, 7 if scores else 4)
    figure.suptitle(wrapped(title, 90), fontsize=12)
    panels = figure.subplots(2 if scores else 1, 1, sharex=True, squeeze=False)[:, 0]
    losses = {"loss": "training loss", "eval_loss": "loss on held-out examples"}
    titles = losses | {name: name.removeprefix("eval_") for name in scores}
    for axes, shown in zip(panels, (list(losses), scores), strict=False):
        for number, name in enumerate(shown):
            points = [(entry["epoch"], entry[name]) for entry in log_history if name in entry]
            if points:
                axes.plot(*zip(*points, strict=True), label=titles[name], marker=".", color=COLOURS[number])
        axes.grid(alpha=0.3)
    if scores:
        draw_baselines(panels[1], baselines or {}, scale=1)
        panels[1].set_ylabel("score on held-out examples")
        panels[1].legend(fontsize=9)
    panels[0].set_ylabel("loss")
    if panels[0].lines:
        panels[0].legend(fontsize=9)
    else:
        panels[0].text(0.5, 0.5, "no loss was logged", ha="center", transform=panels[0].transAxes)
    panels[-1].set_xlabel("epoch")
    save_figure(figure, path)
