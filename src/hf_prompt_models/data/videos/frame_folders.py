"""Videos as folders of pictures, one a frame, and the lists of them that ActionCLIP and TSN use."""

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
"""A GIF in a folder is a video. Files without a usual suffix are frames where their content says so."""

MAX_LIST_BYTES = 64 * 2**20
"""The longest list that is read; Kinetics-400's, of 240,000 videos, has about 20 MB."""


@dataclass(frozen=True)
class FrameFolder:
    """A folder of pictures as a video, in the order of the numbers in their names (`img_00001.jpg`, …).

    Attributes:
        path: the folder.
        num_frames: how many pictures are the video, from the first. Default: all.
    """

    path: Path
    num_frames: int | None = None

    def files(self, name: str) -> list[Path]:
        """The pictures in their order.

        Args:
            name: what to call the folder in an error.

        Raises:
            UnreadableVideoError: if the names do not follow one pattern with one running number, or there are fewer
                pictures than `num_frames`.
        """
        try:
            entries = [entry.name for entry in os.scandir(self.path) if is_frame(entry)]
        except OSError as error:
            raise UnreadableVideoError(f"Cannot read the folder of frames {name}: {error.strerror}.") from error
        numbered = {}
        patterns = set()
        for entry in entries:
            # The number is the last one of the name: `v2_img_00001.jpg`, `12.png`.
            stem, suffix = os.path.splitext(entry)
            match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", stem, re.DOTALL)
            if match is None:
                raise UnreadableVideoError(f"Cannot read the frames of {name}: {entry!r} has no number in its name.")
            patterns.add((match[1], match[3].lower() + suffix.lower()))
            numbered[int(match[2])] = entry
        if not entries or len(entries) > MAX_FRAMES:
            raise UnreadableVideoError(f"Cannot read the frames of {name}: it holds {len(entries)} pictures.")
        if len(patterns) > 1 or len(numbered) < len(entries):
            raise UnreadableVideoError(
                f"Cannot read the frames of {name}: their names must differ in one running number alone, as "
                f"img_00001.jpg, img_00002.jpg, …; among them are {', '.join(sorted(entries)[:3])}."
            )
        if self.num_frames is not None and len(entries) < self.num_frames:
            raise UnreadableVideoError(
                f"Cannot read the frames of {name}: {self.num_frames} are listed, {len(entries)} are there."
            )
        return [self.path / numbered[number] for number in sorted(numbered)][: self.num_frames]


class FrameFolderReader(VideoReader):
    """The pictures of a folder, decoded when they are asked for."""

    def __init__(self, folder: FrameFolder, name: str):
        self._files = folder.files(name)
        self._name = name
        self.num_frames = len(self._files)

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """As of every reader."""
        try:
            return {
                index: load_image(self._files[index], f"{self._name}/{self._files[index].name}")
                for index in set(indices)
            }
        except UnreadableImageError as error:
            raise UnreadableVideoError(str(error)) from error


def is_frame(path: Path | os.DirEntry) -> bool:
    """Return whether a file is a frame: a still image by its suffix or, for unusual suffixes, by its content."""
    suffix = os.path.splitext(path.name)[1].lower()
    if is_hidden(path.name) or not path.is_file():
        return False
    return suffix in FRAME_SUFFIXES or (suffix not in VIDEO_SUFFIXES and is_image_file(path) and not is_gif(path))


def is_gif(path: Path | os.DirEntry) -> bool:
    """Return whether a file is a GIF by its content."""
    with open(path, "rb") as file:
        return file.read(4) == b"GIF8"


class ListedVideo(NamedTuple):
    """A line of a list.

    Attributes:
        path: the folder of frames, or the video.
        num_frames: number of frames.
        label: class index.
    """

    path: str
    num_frames: int
    label: int


def read_frame_list(path: str | os.PathLike) -> Sequence[ListedVideo]:
    """The lines `<folder of frames> <number of frames> <class index>` of a list.

    Lines are read from the right, so that paths may hold spaces.

    Raises:
        ValueError: naming a line that is not of this form.
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
        raise ValueError(f"{path} lists no videos.")
    return videos


def read_list_text(path: Path) -> str:
    """The text of a list.

    Raises:
        ValueError: if it is too long or not in UTF-8.
    """
    return read_text(path, MAX_LIST_BYTES, "lists of videos")
