"""Video files without labels, by name or in folders, for prediction."""

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
    """Return the videos of a folder and of the folders in it, in the order of their names, and all other files.

    A folder that holds images, and no videos in it or below, is a video itself. Files are videos by their suffix or
    their content; hidden ones are passed over.
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
    """Return the videos of a folder (`find_videos`), and report with a count what else is in it."""
    videos, others = find_videos(directory)
    report_left_out(others, directory, "not videos")
    return videos


def holds_video_classes(directory: Path) -> bool:
    """Return whether a folder has class folders: not only folders of frames."""
    return any(_videos_and_others(read_tree(folder))[0] != [folder] for folder in folders_in(directory))


def list_videos(paths: Iterable[str]) -> list[str]:
    """`paths` with each folder replaced by its videos (`videos_in`) and each list (`expand_lists`) by its files.

    Other files stay as they are, whatever their suffix, and so do folders of frames.

    Raises:
        ValueError: if a folder holds no videos.
    """
    found: list[str] = []
    for path in expand_lists(paths):
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
