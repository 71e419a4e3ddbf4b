"""What a video is, whatever its frames come from; and PyAV, which video files need and nothing else does."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.listing import is_hidden
from hf_prompt_models.utils.files import UnreadableFileError


VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpe", ".mpeg", ".mpg", ".mts", ".ogv", ".qt", ".ts", ".vob", ".webm", ".wmv"}
)
"""The usual suffixes of readable containers. Files of other names are videos where their content says so."""

MAX_FRAMES = 1_000_000
"""The longest video that is read: nine hours at 30 frames a second."""


class UnreadableVideoError(UnreadableFileError):
    """A video that cannot be decoded; the message names it."""


class VideoReader(ABC):
    """The frames of one video.

    Attributes:
        num_frames: number of frames, at least 1.
    """

    num_frames: int

    @abstractmethod
    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """The frames of these numbers, from 0 to `num_frames - 1`, in RGB, turned as the file says.

        Raises:
            UnreadableVideoError: naming the video.
        """


def is_video_file(path: str | os.PathLike) -> bool:
    """Return whether a file is a video by its suffix or, for other suffixes, by its first bytes."""
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return not is_hidden(path.name)
    if path.suffix.lower() in IMAGE_SUFFIXES or path.suffix.lower() in AUDIO_SUFFIXES:
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    if head[4:8] == b"ftyp":  # still images (AVIF, HEIC) and sound have brands of their own
        return not head[8:12].lower().startswith(_OTHER_BRANDS)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


AUDIO_SUFFIXES = frozenset({".aac", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})
_OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"m4a")
_SIGNATURES = (b"\x1a\x45\xdf\xa3", b"GIF8", b"FLV\x01", b"\x00\x00\x01\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
"""How Matroska, GIF, FLV, MPEG program streams and ASF begin."""


def require_av(what: str) -> None:
    """Say what to install where PyAV is absent: it has no build for some machines, and images need none.

    Args:
        what: what was to be done with a video, for the error.

    Raises:
        ImportError: if PyAV is not installed.
    """
    if find_spec("av") is None:
        raise ImportError(
            f"Cannot {what}: PyAV is not installed. pip install av; or pass a video's frames, as pictures in a folder "
            "of their own."
        )
