"""Unlabelled video files and folders of videos, for inference."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.listing import Folder, folders_in, read_tree, report_left_out
from hf_prompt_models.data.path_lists import expand_lists
from hf_prompt_models.data.readable import check_all, refuse, report_skipped
from hf_prompt_models.data.videos.frame_folders import is_frame
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES, check_video, load_video
from hf_prompt_models.data.videos.reader import is_video_file


def find_videos(directory: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Return the videos in a folder and its subfolders, sorted by path, and all other files.

    A folder that holds images, and no videos at any depth, is a video itself. A file is a video if its suffix or its
    content is that of a video format. Hidden files are ignored.
    """
    videos, others = _videos_and_others(read_tree(directory))
    return sorted(videos), sorted(others)


def _videos_and_others(folder: Folder) -> tuple[list[Path], list[Path]]:
    videos: list[Path] = []
    others = list(folder.others)
    for path in folder.files:
        (videos if is_video_file(path) else others).append(path)
    for inner in folder.folders:
        inner_videos, inner_others = _videos_and_others(inner)
        videos += inner_videos
        others += inner_others
    if (
        not videos
        and (rest := [path for path in others if path.parent != folder.path or not is_frame(path)]) != others
    ):
        return [folder.path], rest
    return videos, others


def videos_in(directory: str | os.PathLike) -> list[Path]:
    """Return the videos in a folder (`find_videos`) and log the number of other files."""
    videos, others = find_videos(directory)
    report_left_out(others, directory, "not videos")
    return videos


def holds_video_classes(directory: Path) -> bool:
    """Return whether a folder holds class folders, instead of only folders of frames."""
    return any(_videos_and_others(read_tree(folder))[0] != [folder] for folder in folders_in(directory))


def list_videos(paths: Iterable[str]) -> list[str]:
    """Return paths with each folder replaced by its videos (`videos_in`) and each list (`expand_lists`) by its files.

    Folders of frames and other files, whatever their suffix, are returned unchanged.

    Raises:
        ValueError: if a folder holds no videos, or a list is invalid (`expand_lists`).
    """
    found: list[str] = []
    for path in expand_lists(paths):
        videos = videos_in(Path(path)) if os.path.isdir(path) else [Path(path)]
        if not videos:
            raise ValueError(
                f"The folder {path} contains no videos. Supported: {', '.join(sorted(VIDEO_SUFFIXES))}, or "
                "folders of frames."
            )
        found += [path] if videos == [Path(path)] else map(str, videos)
    return found


def readable_videos(paths: Iterable[str], on_unreadable: str, progress: bool = True) -> list[str]:
    """Check that every video can be decoded and return the paths of those that can.

    Args:
        paths: videos.
        on_unreadable: "refuse" raises an error if any video cannot be decoded; "skip" warns about each of these
            videos, logs their number and leaves them out.
        progress: whether to show a progress bar.

    Raises:
        UnreadableVideoError: if videos cannot be decoded (the message names them), or none is left.
    """
    kept, broken = check_all(paths, check_video, on_unreadable, "Checking videos", progress)
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, "videos")
    return kept


def prepare_frames(image_processor: Any, frames: Sequence[Image.Image], **settings: Any) -> torch.Tensor:
    """Preprocess frames with an image or video processor.

    Args:
        image_processor: a processor that treats the frames as one video or as separate images.
        frames: PIL images.
        **settings: keyword arguments for the processor.

    Returns:
        Tensor of shape (frames, 3, height, width).
    """
    pixels = image_processor(list(frames), return_tensors="pt", **settings)["pixel_values"]
    return pixels.reshape(len(frames), *pixels.shape[-3:])


class VideoFiles(Dataset):
    """Dataset of preprocessed video files, decoded on access.

    An item holds `pixel_values` of shape (frames, 3, height, width).

    Args:
        paths: videos.
        image_processor: image processor of the model.
        num_frames: number of frames per video, taken from the middles of as many segments.
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
