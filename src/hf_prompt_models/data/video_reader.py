"""What a video is, whatever its frames come from; and PyAV, which video files need and nothing else does."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from importlib.util import find_spec

from PIL import Image

from hf_prompt_models.data.files import UnreadableFileError


VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)

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
