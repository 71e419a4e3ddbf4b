"""Figures of the frames that a video model saw, with its predictions."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.loading import load_video_views
from hf_prompt_models.utils.figures import BLUE, new_figure, save_figure, wrapped


FRAMES_IN_A_ROW = 8
TILE_INCHES = 1.7
FIGURE_INCHES = 7.0
"""Minimum width of the figure, which leaves space for names."""

TILE_PIXELS = 480
SHOWN_CLASSES = 20


def strip_files(target: str | os.PathLike, videos: Sequence[str]) -> list[Path]:
    """Return the file of each video's figure.

    Args:
        target: A file that ends with .png, for one video; or a folder, where files are named after the videos.
        videos: Paths of the videos.

    Raises:
        ValueError: If there is one file for several videos.
    """
    target = Path(target)
    if target.suffix.lower() == ".png":
        if len(videos) > 1:
            raise ValueError(
                f"{target} is a single image, but there are {len(videos)} videos. Pass a folder for their images."
            )
        return [target]
    files: list[Path] = []
    taken: set[str] = set()
    for video in videos:
        name = stem = Path(os.path.abspath(video)).stem
        number = 1
        while name.lower() in taken:  # lower case, because some file systems ignore case
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        files.append(target / f"{name}.png")
    return files


def write_frame_strip(
    video: str, num_frames: int, predictions: Sequence[dict[str, Any]], path: str | os.PathLike
) -> None:
    """Write the sampled frames of a video, with their numbers, above its best classes, as PNG.

    Args:
        video: A file, or a folder of frames.
        num_frames: Number of frames that the model uses.
        predictions: `label` and `score` of the best classes.
        path: Path of the PNG.

    Raises:
        UnreadableVideoError: If the video cannot be read; the message names it.
    """
    count = 0

    def choose(available: int) -> list[list[int]]:
        nonlocal count
        count = available
        return [segment_indices(count, num_frames)]

    (frames,) = load_video_views(video, choose)
    plot_frame_strip(Path(video).name, frames, segment_indices(count, num_frames), count, predictions, path)


def plot_frame_strip(
    title: str,
    frames: Sequence[Image.Image],
    indices: Sequence[int],
    count: int,
    predictions: Sequence[dict[str, Any]],
    path: str | os.PathLike,
) -> None:
    """Write frames and predictions as PNG.

    Args:
        title: Name of the video.
        frames: The uncropped frames.
        indices: Index of each frame, from 0; shown from 1.
        count: Number of frames of the video.
        predictions: `label` and `score` of the best classes. The first `SHOWN_CLASSES` are shown.
        path: Path of the PNG.
    """
    predictions = predictions[:SHOWN_CLASSES]
    columns = min(len(frames), FRAMES_IN_A_ROW)
    rows = math.ceil(len(frames) / columns)
    width = max(columns * TILE_INCHES, FIGURE_INCHES)
    tile_height = max(min(width / columns, 2 * TILE_INCHES) * frame.height / frame.width for frame in frames)
    tile_height = min(tile_height, 2 * TILE_INCHES) + 0.25  # space for the number of the frame
    labels = [wrapped(entry["label"], 40) for entry in predictions]
    heading = wrapped(f"{title}: {len(frames)} of {count} frames, and the best classes", int(11 * width))
    bars_height = 0.7 + sum(0.12 + 0.16 * (label.count("\n") + 1) for label in labels)
    top = 0.1 + 0.22 * (heading.count("\n") + 1)

    figure = new_figure(width, top + rows * tile_height + bars_height)
    figure.suptitle(heading, fontsize=11)
    panels: Any = figure.subfigures(2, 1, height_ratios=[top + rows * tile_height, bars_height])
    above, below = panels
    tiles = above.subplots(rows, columns, squeeze=False).ravel()
    for tile in tiles:
        tile.set_axis_off()
    for tile, frame, index in zip(tiles, frames, indices, strict=False):
        small = frame.copy()
        small.thumbnail((TILE_PIXELS, TILE_PIXELS))  # `thumbnail` never enlarges
        tile.imshow(small)
        tile.set_title(f"frame {index + 1}" + (f" of {count}" if tile is tiles[0] else ""), fontsize=8)

    bars = below.subplots()
    scores = [entry["score"] for entry in predictions]
    drawn = bars.barh(range(len(labels)), scores, color=BLUE, height=0.6)
    bars.bar_label(drawn, [f"{score:.1%}" for score in scores], padding=3, fontsize=9)
    bars.set_yticks(range(len(labels)), labels, fontsize=9)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.15)  # space for the number next to a bar of 100 %
    bars.set_xticks([])
    bars.set_xlabel("probability", fontsize=9)
    bars.spines[["top", "right", "bottom"]].set_visible(False)
    save_figure(figure, path)


def drawn(
    predictions: Iterator[tuple[str, list[dict[str, Any]]]], strips: dict[str, Path], num_frames: int
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the same predictions, and write a figure with the frames of each video."""
    for video, classes in predictions:
        write_frame_strip(video, num_frames, classes, strips[video])
        yield video, classes
