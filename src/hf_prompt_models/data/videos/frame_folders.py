"""Videos as folders of frame images, and the lists of them that ActionCLIP and TSN use."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, UnreadableImageError, is_image_file, load_image
from hf_prompt_models.data.listing import is_hidden
from hf_prompt_models.data.videos.reader import MAX_FRAMES, VIDEO_SUFFIXES, UnreadableVideoError, VideoReader
from hf_prompt_models.utils.files import check_listed, read_text


FRAME_SUFFIXES = IMAGE_SUFFIXES - {".gif"}
"""Suffixes of frames. A GIF in a folder is a video. Files with other suffixes are frames if their content shows it."""

MAX_LIST_BYTES = 64 * 2**20
"""Largest size in bytes of a list that is read. The list of the 240,000 videos of Kinetics-400 has about 20 MB."""


@dataclass(frozen=True)
class FrameFolder:
    """A folder of images as a video, in the order of the numbers in the file names (`img_00001.jpg`, …).

    Attributes:
        path: the folder.
        num_frames: number of images, from the first, that are the video. Default: all.
    """

    path: Path
    num_frames: int | None = None

    def files(self, name: str) -> list[Path]:
        """Return the images in their order.

        Args:
            name: name of the folder in error messages.

        Raises:
            UnreadableVideoError: if the folder cannot be read or holds no images, if the file names do not follow one
                pattern with one running number, or if there are fewer images than `num_frames`.
        """
        try:
            entries = [entry.name for entry in os.scandir(self.path) if is_frame(entry)]
        except OSError as error:
            raise UnreadableVideoError(f"Cannot read the folder of frames {name}: {error.strerror}.") from error
        numbered = {}
        patterns = set()
        for entry in entries:
            # The frame number is the last number in the name: `v2_img_00001.jpg`, `12.png`.
            stem, suffix = os.path.splitext(entry)
            match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", stem, re.DOTALL)
            if match is None:
                raise UnreadableVideoError(f"Cannot read the frames of {name}: {entry!r} has no number in its name.")
            patterns.add((match[1], match[3].lower() + suffix.lower()))
            numbered[int(match[2])] = entry
        if not entries or len(entries) > MAX_FRAMES:
            raise UnreadableVideoError(f"Cannot read the frames of {name}: the folder contains {len(entries)} images.")
        if len(patterns) > 1 or len(numbered) < len(entries):
            raise UnreadableVideoError(
                f"Cannot read the frames of {name}: their names must differ only in one running number, such "
                f"as img_00001.jpg, img_00002.jpg, …; some names are {', '.join(sorted(entries)[:3])}."
            )
        if self.num_frames is not None and len(entries) < self.num_frames:
            raise UnreadableVideoError(
                f"Cannot read the frames of {name}: {self.num_frames} are listed, but {len(entries)} are present."
            )
        return [self.path / numbered[number] for number in sorted(numbered)][: self.num_frames]


class FrameFolderReader(VideoReader):
    """Reader of a folder of frames, which are decoded on access."""

    def __init__(self, folder: FrameFolder, name: str):
        self._files = folder.files(name)
        self._name = name
        self.num_frames = len(self._files)

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """Return the frames at `indices`."""
        try:
            return {
                index: load_image(self._files[index], f"{self._name}/{self._files[index].name}")
                for index in set(indices)
            }
        except UnreadableImageError as error:
            raise UnreadableVideoError(str(error)) from error


def is_frame(path: Path | os.DirEntry) -> bool:
    """Return whether a file is a frame: a still image, judged by its suffix or, for unusual suffixes, its content."""
    suffix = os.path.splitext(path.name)[1].lower()
    if is_hidden(path.name) or not path.is_file():
        return False
    return suffix in FRAME_SUFFIXES or (suffix not in VIDEO_SUFFIXES and is_image_file(path) and not is_gif(path))


def is_gif(path: Path | os.DirEntry) -> bool:
    """Return whether a file is a GIF, judged by its content."""
    with open(path, "rb") as file:
        return file.read(4) == b"GIF8"


class ListedVideo(NamedTuple):
    """A line of a list of videos.

    Attributes:
        path: folder of frames, or video file.
        num_frames: number of frames.
        label: class index.
    """

    path: str
    num_frames: int
    label: int


def read_frame_list(path: str | os.PathLike) -> Sequence[ListedVideo]:
    """Read a list with lines `<folder of frames> <number of frames> <class index>`.

    Lines are split from the right, so paths may contain spaces.

    Raises:
        ValueError: if a line does not have this form (the message names it), or there are none.
    """
    videos = []
    for number, line in enumerate(read_list_text(Path(path)).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.strip().rsplit(maxsplit=2)
        if len(fields) != 3 or not all(re.fullmatch(r"\d{1,9}", field) for field in fields[1:]) or fields[1] == "0":
            raise ValueError(
                f"{path}, line {number}: expected '<folder of frames> <number of frames> <class index>', got "
                f"{line[:80]!r}."
            )
        check_listed(fields[0], f"{path}, line {number}")
        videos.append(ListedVideo(fields[0], int(fields[1]), int(fields[2])))
    if not videos:
        raise ValueError(f"{path} lists no videos. Add at least one.")
    return videos


def read_list_text(path: Path) -> str:
    """Return the text of a list of videos.

    Raises:
        ValueError: if the file is too large or not in UTF-8.
    """
    return read_text(path, MAX_LIST_BYTES, "lists of videos")
