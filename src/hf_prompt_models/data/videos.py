"""Stand-in for video decoding, until the room for videos replaces it."""

from typing import Any

import av
import torch
from PIL import Image


class UnreadableVideoError(ValueError):
    """A video that cannot be decoded."""


def load_video(
    source: Any, num_frames: int, generator: torch.Generator | None = None, name: str | None = None
) -> list[Image.Image]:
    """Frames at the centres of equal segments."""
    try:
        with av.open(source) as container:
            frames = [frame.to_image() for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise UnreadableVideoError(f"{name or source}: {error}") from error
    count = len(frames)
    if count <= num_frames:
        return [frames[i * count // num_frames] for i in range(num_frames)]
    return [frames[int(i * count / num_frames + (count / num_frames - 1) / 2)] for i in range(num_frames)]
