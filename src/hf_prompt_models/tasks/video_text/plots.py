"""Figures of retrieved videos and of answers."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image

from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.tasks.video_text.evaluation import Answered, Retrieved
from hf_prompt_models.utils.figures import BLUE, GREEN, GREY, RED, new_figure, save_figure, shortened, wrapped


QUERIES, BEST = 6, 5
QUESTIONS, COLUMNS = 12, 3
SHOWN_FRAMES = 2
FRAME_PIXELS = 160


def plot_retrieved(found: Retrieved, path: str | os.PathLike) -> None:
    """Write a figure with a sentence per row and the frames of its best videos next to it.

    The correct video has a green frame.

    Args:
        found: Retrieval results. The sentences that are shown are evenly spread over all.
        path: Path of the PNG.
    """
    shown = np.unique(np.linspace(0, len(found.captions) - 1, QUERIES).astype(int))
    columns = min(BEST, len(found.videos))
    right, ranks = found.right, found.ranks()
    items = {item.video: item for item in found.captions.items}
    figure = new_figure(max(3.0 + 2.6 * columns, 8.0), 1.3 + 1.75 * len(shown))
    recall = found.metrics()["text_to_video"]["recall_at_1"]
    chance = found.chance()["text_to_video"]["recall_at_1"]
    title = (
        f"The best of {len(found.videos)} videos for {len(shown)} of {len(found.captions)} sentences; R@1 on "
        f"all: {recall:.1%} (chance: {chance:.1%})"
    )
    figure.suptitle(wrapped(title, 80), fontsize=11)
    grid = figure.subplots(len(shown), columns + 1, squeeze=False, width_ratios=[3.0, *[2.6] * columns])
    for row, query in zip(grid, shown, strict=True):
        text = wrapped(found.captions[query].text, 34, 7)
        _write(row[0], f"{text}\n\nrank of the right video: {ranks[query]}")
        for place, video in enumerate(np.argsort(-found.by_text[query], kind="stable")[:columns]):
            is_right = bool(right[query, video])
            _show(row[place + 1], contact_strip(items[found.videos[video]]), GREEN if is_right else None)
            label = f"{place + 1}: right" if is_right else f"{place + 1}"
            row[place + 1].set_title(label, fontsize=8, color=GREEN if is_right else GREY)
    frame = Line2D([], [], color=GREEN, linewidth=4, label="the video that the sentence describes")
    figure.legend(handles=[frame], loc="outside lower center", fontsize=9)
    save_figure(figure, path, dpi=100)


def plot_answered(answered: Answered, path: str | os.PathLike) -> None:
    """Write a figure of frames with their questions and answers.

    Correct answers are blue; wrong ones are red, with the correct answer next to them.

    Args:
        answered: Answers. The questions that are shown are evenly spread over all.
        path: Path of the PNG.
    """
    count = len(answered.questions)
    shown = np.unique(np.linspace(0, count - 1, min(QUESTIONS, count)).astype(int))
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(3.6 * columns, 6.4), 1.1 + 2.7 * rows)
    accuracy = answered.metrics()["accuracy"]
    title = (
        f"{len(shown)} of {count} questions; {accuracy:.1%} of all correct, with {len(answered.answers)} "
        "possible answers"
    )
    figure.suptitle(wrapped(title, 36 * max(columns, 2)), fontsize=11)
    chosen = answered.chosen
    for place, index in enumerate(shown):
        item, axes = answered.questions[index], figure.add_subplot(rows, columns, place + 1)
        _show(axes, contact_strip(item))
        is_right = chosen[index] == item.answer
        axes.set_title(wrapped(item.text, 40, 5), fontsize=9)
        text = chosen[index] if is_right else f"{chosen[index]}   (right: {item.answer})"
        axes.set_xlabel(wrapped(text, 44, 4), fontsize=9, color=BLUE if is_right else RED)
    handles = [
        Line2D([], [], color=BLUE, linewidth=5, label="right answer"),
        Line2D([], [], color=RED, linewidth=5, label="wrong answer, and the right one"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    save_figure(figure, path, dpi=100)


def contact_strip(item: VideoText, count: int = SHOWN_FRAMES) -> Image.Image:
    """Return frames of a video side by side."""
    frames = item.load(lambda available: segment_indices(available, count))
    width = max(1, round(FRAME_PIXELS * frames[0].width / frames[0].height))
    strip = Image.new("RGB", (width * len(frames), FRAME_PIXELS))
    for place, frame in enumerate(frames):
        strip.paste(frame.resize((width, FRAME_PIXELS), Image.Resampling.BILINEAR), (place * width, 0))
    return strip


def plot_found(text: str, videos: Sequence[VideoText], scores: Sequence[float], path: str | os.PathLike) -> None:
    """Write a figure with the frames of the videos that were found for a sentence, best first.

    Args:
        text: The sentence.
        videos: Videos that were found.
        scores: Score of each video, from 0 to 1.
        path: Path of the PNG.
    """
    columns = min(3, len(videos))
    rows = -(-len(videos) // columns)
    figure = new_figure(max(3.6 * columns, 5.0), 0.7 + 2.3 * rows)
    figure.suptitle(wrapped(f"“{text}”: the {len(videos)} best videos", 34 * max(columns, 2)), fontsize=11)
    for place, (video, score) in enumerate(zip(videos, scores, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        _show(axes, contact_strip(video))
        axes.set_title(f"{place + 1}. {shortened(video.video.name, 34)}, score {score:.1%}", fontsize=9)
    save_figure(figure, path, dpi=100)


def _show(axes: Axes, image: Image.Image, color: str | None = None) -> None:
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(color is not None)
        spine.set_edgecolor(color or "none")
        spine.set_linewidth(4)


def _write(axes: Axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0, 0.5, text, fontsize=9, va="center", transform=axes.transAxes)
