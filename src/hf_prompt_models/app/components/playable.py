"""Conversion of clips to files that browsers can play."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from hf_prompt_models.data.videos.decoding import VideoFile
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.loading import load_video_views
from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.utils.files import replacing


CONTAINERS = {".mp4": {"h264", "av1", "vp9"}, ".m4v": {"h264"}, ".webm": {"vp8", "vp9", "av1"}}
"""File suffixes that browsers can play, with the supported codecs."""

MAX_BYTES = 100 * 2**20
"""Maximum size of a clip that is shown as it is. Larger clips are shown as a preview of sampled frames."""

PREVIEW_FRAMES, PREVIEW_PIXELS, PREVIEW_SECONDS = 32, 320, 4


def playable_copy(clip: str, folder: Path, name: str) -> Path:
    """Copy a clip to a file that browsers can play: the same file, or a preview of sampled frames.

    The server gives access to the copy only, not to the other files next to the clip.

    Args:
        clip: a video file or a folder of frames.
        folder: output folder.
        name: name of the copy, without a suffix.

    Returns:
        The path of the copy.

    Raises:
        UnreadableVideoError: if the clip cannot be read.
    """
    suffix = Path(clip).suffix.lower()
    if plays(clip):
        target = folder / f"{name}{suffix}"
        if not target.is_file():
            with replacing(target) as beside:  # several sessions may copy the same clip
                shutil.copyfile(clip, beside)
        return target
    target = folder / f"{name}.mp4"
    if not target.is_file():
        write_preview(clip, target)
    return target


def plays(clip: str) -> bool:
    """Return whether browsers can play a file as it is."""
    path = Path(clip)
    codecs = CONTAINERS.get(path.suffix.lower())
    if codecs is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    with VideoFile(path, path.name).open() as (_, stream):
        return stream.codec_context.codec.canonical_name in codecs


def write_preview(clip: str, target: Path) -> None:
    """Write evenly sampled frames of a clip as a short MP4 file."""
    (frames,) = load_video_views(
        clip, lambda count: [segment_indices(count, min(count, PREVIEW_FRAMES))], Path(clip).name
    )
    scale = min(1.0, PREVIEW_PIXELS / max(frames[0].size))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in frames[0].size)
    small = [np.asarray(frame.resize((width, height), Image.Resampling.BILINEAR)) for frame in frames]
    write_video(target, np.stack(small), frames_per_second=max(1, round(len(small) / PREVIEW_SECONDS)))
