"""Loading of frames from video files, bytes or folders of frames."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hf_prompt_models.data.videos.frame_folders import FrameFolder, FrameFolderReader
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.reader import VIDEO_SUFFIXES, UnreadableVideoError, VideoReader, require_av


__all__ = ["VIDEO_SUFFIXES", "UnreadableVideoError", "VideoSource", "check_video", "load_video", "load_video_views"]

VideoSource = str | os.PathLike | bytes | FrameFolder
"""A video file, the bytes of one, or a folder of frame images."""


def load_video(
    source: VideoSource, num_frames: int, generator: np.random.Generator | None = None, name: str | None = None
) -> list[Image.Image]:
    """Load frames that represent a video: one of each of `num_frames` equal parts.

    Args:
        source: a video file, the bytes of one, or a folder of frame images.
        num_frames: number of frames. If the video is shorter, some of its frames are repeated.
        generator: random number generator, for training: a random frame of each part is taken. Default: the middle
            frame of each part.
        name: name of the video in error messages. Default: its path.

    Returns:
        `num_frames` RGB images in display order and in the orientation that the file specifies. Non-square pixels are
        not corrected.

    Raises:
        UnreadableVideoError: if the video is missing, empty, truncated, without images, not a video, or too large
            (`MAX_FRAMES` of `data.videos.reader`, `MAX_PIXELS` and `MAX_BYTES` of `data.videos.decoding`).
        ImportError: if it is a video file and PyAV is not installed.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import load_video, write_video
        >>> frames = np.repeat(np.uint8([0, 80, 160, 240]), 3 * 48 * 64).reshape(4, 48, 64, 3)
        >>> write_video("brighter.mp4", frames)
        >>> [round(np.asarray(image).mean() / 10) * 10 for image in load_video("brighter.mp4", num_frames=2)]
        [0, 160]

        ```
    """
    return load_video_views(source, lambda count: [segment_indices(count, num_frames, generator)], name)[0]


def load_video_views(
    source: VideoSource, choose: Callable[[int], Sequence[Sequence[int]]], name: str | None = None
) -> list[list[Image.Image]]:
    """Load several lists of frames of one video, decoding each frame only once.

    Args:
        source: the video, as for `load_video`.
        choose: function that is given the number of frames that can be decoded and returns the frame indices of each
            view.
        name: name of the video in error messages. Default: its path.

    Returns:
        A list of images for each view.

    Raises:
        UnreadableVideoError: as for `load_video`.
        ImportError: as for `load_video`.
    """
    name = name or ("<bytes>" if isinstance(source, bytes) else str(_path(source)))
    if isinstance(source, FrameFolder):
        return _read_views(FrameFolderReader(source, name), choose)
    if not isinstance(source, bytes):
        path = Path(source)
        if path.is_dir():
            return _read_views(FrameFolderReader(FrameFolder(path), name), choose)
        source = path
    require_av(f"read the video {name}")
    from hf_prompt_models.data.videos.decoding import UnexpectedFramesError, VideoFile, open_video_file  # needs PyAV

    file = VideoFile(source, name)
    try:
        return _read_views(open_video_file(file), choose)
    except UnexpectedFramesError:
        return _read_views(open_video_file(file, from_start=True), choose)


def check_video(source: VideoSource, name: str | None = None) -> None:
    """Check that a video can be read to its end, without decoding it completely where possible.

    Args:
        source: the video, as for `load_video`.
        name: name of the video in error messages. Default: its path.

    Raises:
        UnreadableVideoError: as for `load_video`.
        ImportError: as for `load_video`.
    """
    load_video_views(source, lambda count: [[0, count - 1]], name)


def _path(source: str | os.PathLike | FrameFolder) -> str | os.PathLike:
    return source.path if isinstance(source, FrameFolder) else source


def _read_views(reader: VideoReader, choose: Callable[[int], Sequence[Sequence[int]]]) -> list[list[Image.Image]]:
    views = choose(reader.num_frames)
    frames = reader.read(index for view in views for index in view)
    return [[frames[index] for index in view] for view in views]
