"""Labelled videos from class folders or from lists of videos."""

import csv
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from hf_prompt_models.data.held_out import read_part
from hf_prompt_models.data.labelled import LabelledFiles, as_class_name, check_class_folders, words
from hf_prompt_models.data.listing import folders_in, report_left_out
from hf_prompt_models.data.splits import named_folder, named_split, split_folder
from hf_prompt_models.data.videos.files import find_videos, holds_video_classes
from hf_prompt_models.data.videos.frame_folders import FrameFolder, read_frame_list, read_list_text
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES, VideoSource, check_video, load_video, load_video_views
from hf_prompt_models.data.videos.reader import is_video_file
from hf_prompt_models.utils.files import check_listed


@dataclass(frozen=True)
class LabelledVideos(LabelledFiles):
    """Videos with one or several class labels each, decoded on access. `read_labelled_videos` creates them.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from hf_prompt_models.data import read_labelled_videos
        >>> for name in ("falling", "rising"):
        ...     Path("clips", name, "0").mkdir(parents=True)  # a folder with the frames of a video
        ...     Image.new("RGB", (64, 48)).save(f"clips/{name}/0/0.png")
        >>> videos = read_labelled_videos("clips", "train")
        >>> len(videos.load(0, num_frames=4))
        4

        ```
    """

    read: Callable[[int], VideoSource]

    kind: ClassVar[str] = "video"

    def load(self, index: int, num_frames: int, generator: np.random.Generator | None = None) -> list[Image.Image]:
        """Return `num_frames` frames of video `index`, sampled as by `load_video`.

        Args:
            index: index of the video.
            num_frames: number of frames.
            generator: random number generator for the frames. Default: the middle frame of each part.

        Raises:
            UnreadableVideoError: if the video cannot be decoded. The message names it.
        """
        return load_video(self.read(index), num_frames, generator, self.path(index))

    def load_views(self, index: int, choose: Callable[[int], Sequence[Sequence[int]]]) -> list[list[Image.Image]]:
        """Return several lists of frames of video `index`, as `load_video_views` does.

        Args:
            index: index of the video.
            choose: function that is given the number of frames and returns the frame indices of each view.

        Raises:
            UnreadableVideoError: if the video cannot be decoded. The message names it.
        """
        return load_video_views(self.read(index), choose, self.path(index))

    def check(self, index: int) -> None:
        """Check that video `index` has a valid label and can be read to its end.

        Raises:
            UnreadableFileError: if it has no valid label, or, as `UnreadableVideoError`, cannot be read. The message
                names the video.
        """
        self.check_label(index)
        check_video(self.read(index), self.path(index))

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 digest (32 bytes) of the file of video `index`, or of the files of its frames."""
        source = self.read(index)
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        if not isinstance(source, FrameFolder):
            if not Path(source).is_dir():
                return _file_digest(Path(source))
            source = FrameFolder(Path(source))
        return hashlib.sha256(b"".join(map(_file_digest, source.files(self.path(index))))).digest()


def _file_digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_labelled_videos(
    source: str | os.PathLike, split: str, labels: str | os.PathLike | None = None
) -> LabelledVideos:
    """Read videos with class labels from a folder or a list.

    Args:
        source: one of

            - a folder `D` with `D/<class>/…` or `D/<split>/<class>/…`, in which a video is a file or a folder of its
              frames. It may include the split: `D:train`;
            - a text file with lines `<folder of frames or video> <number of frames> <class index>`, as in ActionCLIP
              and TSN;
            - a CSV file with columns `path` and `labels`, where a video has one or more class names, separated by
              semicolons. The labels are then lists of class indices;
            - the `split.json` of a run with `--test_fraction`.

            Paths in lists may be relative to the folder of the list.
        split: the split to read if `source` does not include one.
        labels: a CSV file with columns `id` and `name` and one row per class, in the order of the class indices. It is
            required for a text file. For a CSV file it sets the classes and their order; by default, these are the
            sorted class names in the file.

    Raises:
        ValueError: if the source is none of these, or a class has no video.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import read_labelled_videos, write_video
        >>> for name in ("falling_down", "rising_up"):
        ...     write_video(f"clips/train/{name}/0.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> videos = read_labelled_videos("clips", split="train")
        >>> videos.class_names, videos.labels
        (['falling down', 'rising up'], [0, 1])

        ```
    """
    if (part := read_part(source, split, partial(read_labelled_videos, labels=labels))) is not None:
        return part
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return _read_multi_label(path, None if labels is None else read_labels(labels))
        if labels is None:
            raise ValueError(
                f"{path} contains class indices. Pass the names of the classes as a CSV file with the columns id "
                "and name."
            )
        return _read_list(path, read_labels(labels))
    if path.is_dir():
        if labels is not None:
            raise ValueError(f"The classes of {path} are its folders. Pass a label file only with a list of videos.")
        return read_video_folder(split_folder(path, split, holds_video_classes))
    if (named := named_split(source)) is not None and named[0].is_dir():
        return read_video_folder(named_folder(*named))
    raise ValueError(f"There is no folder or list {str(source)!r}. Check the path.")


def read_video_folder(directory: str | os.PathLike) -> LabelledVideos:
    """Read videos laid out as `directory/<class name>/…/video.mp4`, with classes and videos sorted by name.

    Class names are the folder names with underscores replaced by spaces, as in sentences. A folder that holds images
    is one video. Hidden files and folders are ignored; the number of other files is logged.

    Raises:
        ValueError: if there are fewer than two classes, or a class has no video.
    """
    directory = Path(directory)
    classes = folders_in(directory)
    if len(classes) < 2:
        raise ValueError(
            f"{directory} has {len(classes)} class folder(s), but at least 2 are needed. Arrange the videos "
            f"as {directory / '<class name>' / 'video.mp4'}."
        )
    check_class_folders(classes)
    labels: list[int] = []
    found: list[Path] = []
    left_out = [path for path in sorted(directory.iterdir()) if path.is_file() and is_video_file(path)]
    for label, folder in enumerate(classes):
        videos, others = find_videos(folder)
        left_out += others
        if not videos:
            raise ValueError(
                f"The class folder {folder} contains no videos ({', '.join(sorted(VIDEO_SUFFIXES))}, or "
                "folders of frames). Add videos to it, or remove it."
            )
        if videos == [folder]:
            raise ValueError(f"The class folder {folder} contains images. Put the frames of each video in a folder.")
        labels += [label] * len(videos)
        found += videos
    report_left_out(left_out, directory, "not videos in a class folder")
    names = [path.relative_to(directory).as_posix() for path in found]
    class_names = [words(folder.name) for folder in classes]
    return LabelledVideos(str(directory), class_names, labels, names, found.__getitem__)


def read_labels(path: str | os.PathLike) -> list[str]:
    """Return the class names in a CSV file with columns `id` and `name`, in the order of the ids.

    Ids 0, 1, 2, … in any order are the class indices. Other ids must be in ascending order and keep the order of the
    rows, as in ActionCLIP's `lists/*_labels.csv`.

    Raises:
        ValueError: if the file has other columns, an empty name, ids in another order, or fewer than two classes.
    """
    rows = [(id_.strip(), as_class_name(name)) for id_, name in read_label_rows(path)]
    if all(id_.isdecimal() for id_, _ in rows):
        ids = [int(id_) for id_, _ in rows]
        if sorted(ids) == list(range(len(ids))):
            rows = [row for _, row in sorted(zip(ids, rows, strict=True))]
        elif any(first >= second for first, second in pairwise(ids)):
            raise ValueError(
                f"{path}: expected the ids 0, 1, 2, … in any order, or in ascending order, got {str(ids[:10])[1:-1]}."
            )
    names = [name for _, name in rows]
    if len(names) < 2:
        raise ValueError(f"{path} has {len(names)} classes, but at least two are needed.")
    return names


def read_label_rows(path: str | os.PathLike) -> list[tuple[str, str]]:
    """Return the ids and class names in a CSV file with columns `id` and `name`, unchanged.

    Raises:
        ValueError: if the file has other columns, no rows or an empty name.
    """
    rows = [(row["id"], row["name"]) for row in _rows(Path(path), ["id", "name"])]
    if not rows:
        raise ValueError(f"{path} has no classes. Write one line for each below 'id,name'.")
    for number, (_, name) in enumerate(rows, start=1):
        if not name.strip():
            raise ValueError(f"{path}, row {number}: the class has no name. Write one.")
    return rows


def _rows(path: Path, columns: list[str]) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_list_text(path), newline=""), strict=True)
        rows: list[dict[Any, Any]] = list(reader)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}.") from error
    if list(reader.fieldnames or []) != columns:
        raise ValueError(f"{path}: expected the first line '{','.join(columns)}', got {reader.fieldnames}.")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(
                f"{path}, row {number}: expected {len(columns)} columns. Put names that contain commas in quotes."
            )
    return rows


def _read_list(path: Path, class_names: list[str]) -> LabelledVideos:
    videos = read_frame_list(path)
    if unnamed := [video.label for video in videos if video.label >= len(class_names)]:
        raise ValueError(
            f"{path} has class index {unnamed[0]}, but only {len(class_names)} classes have names, from 0. Add "
            "the missing names."
        )
    sources: list[VideoSource] = []
    for video in videos:
        place = path.parent / video.path
        sources.append(place if place.is_file() else FrameFolder(place, video.num_frames))
    labels = [video.label for video in videos]
    return LabelledVideos(str(path.parent), class_names, labels, [video.path for video in videos], sources.__getitem__)


def _read_multi_label(path: Path, class_names: list[str] | None) -> LabelledVideos:
    rows = _rows(path, ["path", "labels"])
    named = [[as_class_name(name) for name in row["labels"].split(";")] for row in rows]
    if class_names is None:
        class_names = sorted({name for names in named for name in names})
    if len(class_names) < 2 or len(set(class_names)) < len(class_names):
        raise ValueError(f"{path} needs at least two classes with different names, got {class_names[:10]}.")
    place = {name: label for label, name in enumerate(class_names)}
    for number, (row, names) in enumerate(zip(rows, named, strict=True), start=1):
        if not row["path"] or "" in names or len(set(names)) < len(names):
            raise ValueError(f"{path}, row {number}: expected a path and class names without repetition, got {row}.")
        check_listed(row["path"], f"{path}, row {number}")
        if unknown := [name for name in names if name not in place]:
            raise ValueError(f"{path}, row {number}: {unknown[0]!r} is not one of the {len(class_names)} classes.")
    labels = [sorted(place[name] for name in names) for names in named]
    files = [path.parent / row["path"] for row in rows]
    return LabelledVideos(str(path.parent), class_names, labels, [row["path"] for row in rows], files.__getitem__)
