"""Small videos for tests."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image


def write_mp4(path: Path, frames: Sequence[Image.Image]) -> Path:
    """Write frames of one size, of even sides, as a video."""
    import av  # without which images are tested all the same

    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = frames[0].size
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path
