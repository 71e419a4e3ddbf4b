"""Small videos for tests: each frame shows its own number as bars, which are readable after lossy compression."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


SIZE = 32
BITS = 8


def numbered(number: int, width: int = SIZE, height: int = SIZE) -> np.ndarray:
    """Return a frame, (height, width, 3): the bits of the number as blocks, from the top, next to a grey bar."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    rows = height // BITS
    for bit in range(BITS):
        pixels[bit * rows : (bit + 1) * rows, : width // 2] = 230 if number >> bit & 1 else 25
    return pixels


def number_of(image: Image.Image) -> int:
    """Return the number that a frame shows."""
    pixels = np.asarray(image.convert("L"), dtype=float)
    rows = pixels.shape[0] // BITS
    blocks = [
        pixels[bit * rows + 1 : (bit + 1) * rows - 1, 2 : pixels.shape[1] // 2 - 2].mean() for bit in range(BITS)
    ]
    return sum(1 << bit for bit, value in enumerate(blocks) if value > 128)


def write_video(
    path: Path,
    frames: int | Sequence[np.ndarray],
    codec: str = "libx264",
    rate: int = 25,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    gop: int | None = None,
    b_frames: int | None = None,
    sound: float = 0,
    rotation: float | None = None,
    matrix: Sequence[int] | None = None,
) -> Path:
    """Write a video.

    Args:
        path: path of the file, whose suffix determines the container.
        frames: number of numbered frames, or the frames themselves, of shape (height, width, 3).
        codec, options, container_options: names and options of FFmpeg.
        rate: frames per second.
        times: presentation time of each frame, in units of 1 / `rate`. Default: 0, 1, 2, …
        gop: distance between keyframes.
        b_frames: number of consecutive bidirectional frames.
        sound: length in seconds of a tone in addition to the frames.
        rotation: rotation in the display matrix, in degrees counter-clockwise.
        matrix: the display matrix itself, 9 numbers.
    """
    pictures = [numbered(number) for number in range(frames)] if isinstance(frames, int) else list(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        stream.thread_count = 1
        if gop is not None:
            stream.gop_size = gop
        if b_frames is not None:
            stream.max_b_frames = b_frames
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        tone: Any = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000) if sound else None
        for place, picture in enumerate(pictures):
            # Left to the encoder, it takes threads, which a forked worker that collects the encoder waits for.
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt, threads=1)
            frame.pts = times[place] if times else place
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            write_tone(container, tone, sound)
    return path


def write_tone(container: Any, stream: Any, seconds: float) -> None:
    """Seconds of a sound into a container that is being written."""
    samples = np.sin(np.arange(int(48000 * seconds)) / 20).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_sound(path: Path, seconds: float = 1) -> Path:
    """Write a file with sound and without frames."""
    with av.open(str(path), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000), seconds)
    return path


def write_frames(directory: Path, frames: int, pattern: str = "img_{:05d}.jpg", first: int = 1) -> Path:
    """Write a folder of numbered frames as JPEG files."""
    directory.mkdir(parents=True)
    for number in range(frames):
        Image.fromarray(numbered(number)).save(directory / pattern.format(number + first), quality=95)
    return directory
