"""Interface of video readers, detection of video files, and the check that PyAV is installed."""

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
"""Common suffixes of the readable containers. Files with other suffixes are videos if their content shows it."""

MAX_FRAMES = 1_000_000
"""Number of frames of the longest video that is read: nine hours at 30 frames per second."""


class UnreadableVideoError(UnreadableFileError):
    """Error for a video that cannot be decoded. The message names the video."""


class VideoReader(ABC):
    """Base class of readers of the frames of one video.

    Attributes:
        num_frames: number of frames, at least 1.
    """

    num_frames: int

    @abstractmethod
    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """Return RGB frames by index, in the orientation that the file specifies.

        Args:
            indices: frame indices from 0 to `num_frames - 1`.

        Returns:
            The image of each index.

        Raises:
            UnreadableVideoError: if the frames cannot be decoded. The message names the video.
        """


def is_video_file(path: str | os.PathLike) -> bool:
    """Return whether a file is a video, judged by its suffix or, for other suffixes, its first bytes."""
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
    if head[4:8] == b"ftyp":  # still images (AVIF, HEIC) and audio files have brands of their own
        return not head[8:12].lower().startswith(_OTHER_BRANDS)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


AUDIO_SUFFIXES = frozenset({".aac", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})
_OTHER_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"m4a")
_SIGNATURES = (b"\x1a\x45\xdf\xa3", b"GIF8", b"FLV\x01", b"\x00\x00\x01\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
"""First bytes of Matroska, GIF, FLV, MPEG program stream and ASF files."""


def require_av(what: str) -> None:
    """Raise an error that tells how to install PyAV if it is missing.

    PyAV is optional, because it has no build for some machines and is only needed for video files.

    Args:
        what: what was to be done with a video, for the error message.

    Raises:
        ImportError: if PyAV is not installed.
    """
    if find_spec("av") is None:
        raise ImportError(
            f"Cannot {what}: PyAV is not installed. Install it with pip install av, or pass the frames of "
            "each video as images in a folder."
        )
