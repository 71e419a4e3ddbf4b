"""Videos with sentences: captions for training or retrieval, and questions with answers."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Self, TypeVar

from PIL import Image

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.data.readable import check_all, refuse, report_skipped, report_unread
from hf_prompt_models.data.videos.loading import check_video, load_video_views
from hf_prompt_models.data.videos.table import VideoFolder, columns_of, first_field, is_image, read_rows
from hf_prompt_models.utils.files import UnreadableFileError, check_listed


VIDEO_FIELDS = ("video", "clip_name", "video_id", "image")


@dataclass(frozen=True)
class VideoText:
    """A sentence about a video or a still image.

    Attributes:
        video: video file, folder of frames, or image file.
        text: caption or question.
        is_image: whether `video` is a still image.
    """

    video: Path
    text: str
    is_image: bool = False

    def load(self, choose: Callable[[int], Sequence[int]]) -> list[Image.Image]:
        """Decode frames to RGB. A still image is returned as a single frame.

        Args:
            choose: function that is given the number of frames that can be decoded and returns the indices of the
                wanted ones.

        Raises:
            UnreadableFileError: if the video or image cannot be decoded. The message names it.
        """
        if self.is_image:
            return [load_image(self.video)]
        return load_video_views(self.video, lambda count: [choose(count)])[0]

    def check(self) -> None:
        """Check that the video or image can be read to its end.

        Raises:
            UnreadableFileError: if it cannot be read. The message names it.
        """
        if self.is_image:
            load_image(self.video, shrink=True)
        else:
            check_video(self.video)


@dataclass(frozen=True)
class VideoQuestion(VideoText):
    """A question about a video, with its answer.

    Attributes:
        answer: the correct answer.
        kind: type of the question, from the list or, by default, the first word of the question.
    """

    answer: str = ""
    kind: str = ""


T = TypeVar("T", bound=VideoText)


@dataclass(frozen=True)
class VideoTexts(Generic[T]):
    """Sentences about videos from one or several lists.

    Attributes:
        source: the lists.
        items: sentences in the order of the lists.
        skipped: videos that were left out with their sentences, for example because they cannot be read.
    """

    source: str
    items: Sequence[T]
    skipped: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> T:
        return self.items[index]

    @property
    def texts(self) -> list[str]:
        """Caption or question of each item."""
        return [item.text for item in self.items]

    @property
    def videos(self) -> list[Path]:
        """Distinct videos, in the order of their first occurrence."""
        return list(dict.fromkeys(item.video for item in self.items))

    def readable(self, on_unreadable: str, progress: bool = True) -> Self:
        """Check that every video can be decoded and return the sentences about those that can.

        Args:
            on_unreadable: "refuse" raises an error if any video cannot be decoded; "skip" warns about each of these
                videos, logs their number and leaves them out with their sentences.
            progress: whether to show a progress bar.

        Raises:
            UnreadableFileError: if videos cannot be decoded (the message names them), or none is left.
        """
        first = {item.video: item for item in reversed(self.items)}
        kept, broken = check_all(first.values(), _check, on_unreadable, "Checking videos", progress)
        if on_unreadable != "skip":
            refuse(broken)
        report_skipped(kept, broken, f"videos of {self.source}")
        good = {item.video for item in kept}
        skipped = [str(video) for video in self.videos if video not in good]
        return replace(self, items=[item for item in self.items if item.video in good], skipped=skipped)

    def select(self, indices: Sequence[int]) -> Self:
        """Return the items at `indices`, in that order. Videos without a selected item are added to `skipped`."""
        items = [self.items[index] for index in indices]
        kept = {item.video for item in items}
        skipped = [*self.skipped, *(str(video) for video in self.videos if video not in kept)]
        return replace(self, items=items, skipped=skipped)


def _check(item: VideoText) -> None:
    item.check()


def read_captioned_videos(
    sources: str | os.PathLike | Iterable[str | os.PathLike], directory: str | os.PathLike | None = None
) -> VideoTexts[VideoText]:
    """Read videos with captions, one caption per row.

    Args:
        sources: one or several lists, as for `read_rows`. Each row has `caption` and either `video` (a file or folder
            of frames in the folder of videos, or its name without the suffix) or `image` (a still image). The lists of
            MSRVTT and DiDeMo in the original code, `{"clip_name", "caption"}`, are supported too.
        directory: folder of the videos. Default: the folder of each list.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if a row does not have this format. The message names the list and the row.
    """
    lists = _as_list(sources)
    items = []
    for path in lists:
        folder = VideoFolder.open(path.parent if directory is None else directory)
        rows = read_rows(path)
        report_unread(columns_of(rows), (*VIDEO_FIELDS, "caption"), str(path))
        for where, row in rows:
            _, caption = first_field(row, ("caption",), where)
            name, video = first_field(row, VIDEO_FIELDS, where)
            check_listed(video, where)
            found = folder.find(video)
            items.append(VideoText(found, caption, name == "image" or (found.is_file() and is_image(found))))
    return VideoTexts(_named(lists), items)


def read_video_questions(
    sources: str | os.PathLike | Iterable[str | os.PathLike], directory: str | os.PathLike | None = None
) -> VideoTexts[VideoQuestion]:
    """Read questions about videos with their answers.

    Args:
        sources: one or several lists, as for `read_rows`. Each row has `video` or `video_id`, `question`, `answer`
            and, if there are several types of questions, `answer_type`, as in the lists of MSRVTT-QA and MSVD-QA in
            the original code.
        directory: folder of the videos. Default: the folder of each list.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if a row does not have this format. The message names the list and the row.
    """
    lists = _as_list(sources)
    items = []
    for path in lists:
        folder = VideoFolder.open(path.parent if directory is None else directory)
        rows = read_rows(path)
        report_unread(columns_of(rows), (*VIDEO_FIELDS, "question", "answer", "answer_type"), str(path))
        for where, row in rows:
            _, question = first_field(row, ("question",), where)
            _, answer = first_field(row, ("answer",), where)
            _, video = first_field(row, VIDEO_FIELDS, where)
            check_listed(video, where)
            kind = row.get("answer_type")
            named = kind.strip() if isinstance(kind, str) and kind.strip() else question.split()[0].lower()
            items.append(VideoQuestion(folder.find(video), question, answer=answer, kind=named))
    return VideoTexts(_named(lists), items)


def frequent_answers(questions: VideoTexts[VideoQuestion], count: int) -> list[str]:
    """Return the `count` most frequent answers. Equally frequent answers are in the order of their occurrence."""
    return [answer for answer, _ in Counter(item.answer for item in questions.items).most_common(count)]


def _as_list(sources: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    return [Path(sources)] if isinstance(sources, str | os.PathLike) else [Path(source) for source in sources]


def _named(lists: Sequence[Path]) -> str:
    return ", ".join(map(str, lists))


__all__ = [
    "UnreadableFileError",
    "VideoQuestion",
    "VideoText",
    "VideoTexts",
    "frequent_answers",
    "read_captioned_videos",
    "read_video_questions",
]
