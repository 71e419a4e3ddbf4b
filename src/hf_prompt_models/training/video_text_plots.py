"""What a model found for the first sentences, or answered to the first questions, as a picture."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from hf_prompt_models.data.captioned_videos import VideoText
from hf_prompt_models.data.files import replacing
from hf_prompt_models.data.frame_sampling import segment_indices
from hf_prompt_models.training.video_text_evaluation import Answered, Retrieved


QUERIES, BEST = 6, 5
QUESTIONS, COLUMNS = 12, 3
SHOWN_FRAMES = 2
FRAME_PIXELS = 160


def plot_retrieved(found: Retrieved, path: str | os.PathLike) -> None:
    """Write PNG: a row a sentence, with the frames of the best videos beside; the right one is framed in green.

    Args:
        found: of which sentences, evenly spread over all, are shown.
        path: of the PNG.
    """
    shown = np.unique(np.linspace(0, len(found.captions) - 1, QUERIES).astype(int))
    columns = min(BEST, len(found.videos))
    right, ranks = found.right, found.ranks()
    items = {item.video: item for item in found.captions.items}
    figure = Figure(figsize=(3.0 + 2.6 * columns, 0.4 + 1.75 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(shown), columns + 1, squeeze=False, width_ratios=[3.0, *[2.6] * columns])
    for row, query in zip(grid, shown, strict=True):
        text = "\n".join(textwrap.wrap(found.captions[query].text, 34)[:6])
        _write(row[0], f"{text}\n\nits own: place {ranks[query]}")
        for place, video in enumerate(np.argsort(-found.by_text[query], kind="stable")[:columns]):
            is_right = bool(right[query, video])
            _show(row[place + 1], contact_strip(items[found.videos[video]]), "tab:green" if is_right else None)
            row[place + 1].set_title(f"{place + 1}", fontsize=8, color="tab:green" if is_right else "0.4")
    _save(figure, path)


def plot_answered(answered: Answered, path: str | os.PathLike) -> None:
    """Write PNG: frames with the question, the answer in blue if it is right, else in red with the right one beside.

    Args:
        answered: of which questions, evenly spread over all, are shown.
        path: of the PNG.
    """
    count = len(answered.questions)
    shown = np.unique(np.linspace(0, count - 1, min(QUESTIONS, count)).astype(int))
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    chosen = answered.chosen
    for place, index in enumerate(shown):
        item, axes = answered.questions[index], figure.add_subplot(rows, columns, place + 1)
        _show(axes, contact_strip(item))
        is_right = chosen[index] == item.answer
        axes.set_title("\n".join(textwrap.wrap(item.text, 40)[:3]), fontsize=9, parse_math=False)
        text = chosen[index] if is_right else f"{chosen[index]}   (right: {item.answer})"
        color = "tab:blue" if is_right else "tab:red"
        axes.set_xlabel(textwrap.shorten(text, 60), fontsize=9, color=color, parse_math=False)
    _save(figure, path)


def contact_strip(item: VideoText, count: int = SHOWN_FRAMES) -> Image.Image:
    """Frames of a video side by side."""
    frames = item.load(lambda available: segment_indices(available, count))
    width = max(1, round(FRAME_PIXELS * frames[0].width / frames[0].height))
    strip = Image.new("RGB", (width * len(frames), FRAME_PIXELS))
    for place, frame in enumerate(frames):
        strip.paste(frame.resize((width, FRAME_PIXELS), Image.Resampling.BILINEAR), (place * width, 0))
    return strip


def plot_found(text: str, videos: Sequence[VideoText], scores: Sequence[float], path: str | os.PathLike) -> None:
    """Write PNG: the frames of the videos that were found for one sentence, best first.

    Args:
        text: the sentence.
        videos: what was found.
        scores: of each, from 0 to 1.
        path: of the PNG.
    """
    columns = min(3, len(videos))
    rows = -(-len(videos) // columns)
    figure = Figure(figsize=(3.6 * columns, 0.5 + 2.3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(text, 34 * columns), fontsize=11, parse_math=False)
    for place, (video, score) in enumerate(zip(videos, scores, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        _show(axes, contact_strip(video))
        axes.set_title(f"{score:.1%}  {textwrap.shorten(video.video.name, 34)}", fontsize=9, parse_math=False)
    _save(figure, path)


def _show(axes: Axes, picture: Image.Image, color: str | None = None) -> None:
    axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(color is not None)
        spine.set_edgecolor(color or "none")
        spine.set_linewidth(4)


def _write(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0, 0.5, text, fontsize=9, va="center", transform=axes.transAxes, parse_math=False)


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, format=Path(path).suffix[1:] or "png", dpi=100)
