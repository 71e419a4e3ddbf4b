"""Video files without labels, by name or in folders, for prediction."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.frame_folders import is_frame
from hf_prompt_models.data.readable import check_all, refuse, report_skipped
from hf_prompt_models.data.videos import VIDEO_SUFFIXES, check_video, load_video


def folders_in(directory: Path) -> list[Path]:
    """The folders in a folder, but for hidden ones, in the order of their names."""
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))


def videos_in(directory: Path) -> list[Path]:
    """The videos of a folder and of the folders in it, in the order of their names.

    A folder that holds pictures, and no videos in it or below, is a video itself. Hidden files and folders, and other
    files, are passed over.
    """
    entries = [path for path in directory.iterdir() if not path.name.startswith(".")]
    videos = [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]
    for inner in folders_in(directory):
        videos += videos_in(inner)
    if not videos and any(is_frame(path.name) and path.is_file() for path in entries):
        return [directory]
    return sorted(videos)


def list_videos(paths: Iterable[str]) -> list[str]:
    """`paths` with each folder replaced by its videos (`videos_in`).

    Files stay as they are, whatever their suffix, and so do folders of frames.

    Raises:
        ValueError: if a folder holds no videos.
    """
    found: list[str] = []
    for path in paths:
        videos = videos_in(Path(path)) if os.path.isdir(path) else [Path(path)]
        if not videos:
            raise ValueError(
                f"The folder {path} holds no videos ({', '.join(sorted(VIDEO_SUFFIXES))}, or folders of frames)."
            )
        found += [path] if videos == [Path(path)] else map(str, videos)
    return found


def readable_videos(paths: Iterable[str], on_unreadable: str, progress: bool = True) -> list[str]:
    """Check that every video can be decoded, before any work depends on it.

    Args:
        paths: the videos.
        on_unreadable: "refuse" raises for those that cannot; "skip" names each of them in a warning, counts them and
            leaves them out.
        progress: show a bar.

    Raises:
        UnreadableVideoError: naming the videos; or if none is left.
    """
    kept, broken = check_all(paths, check_video, on_unreadable, "Checking videos", progress)
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, "videos")
    return kept


def prepare_frames(image_processor: Any, frames: Sequence[Image.Image], **settings: Any) -> torch.Tensor:
    """(frames, 3, height, width), whether the processor takes the frames for one video or for many images."""
    pixels = image_processor(list(frames), return_tensors="pt", **settings)["pixel_values"]
    return pixels.reshape(len(frames), *pixels.shape[-3:])


class VideoFiles(Dataset):
    """Videos as what an image processor makes of their frames, each decoded when it is asked for.

    An item is `pixel_values` (frames, 3, height, width).

    Args:
        paths: the videos.
        image_processor: the model's.
        num_frames: number of frames of a video: the middles of as many segments.
    """

    def __init__(self, paths: Sequence[str], image_processor: Any, num_frames: int):
        self.paths = paths
        self.image_processor = image_processor
        self.num_frames = num_frames

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        frames = load_video(self.paths[index], self.num_frames)
        return {"pixel_values": prepare_frames(self.image_processor, frames)}
