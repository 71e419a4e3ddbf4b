"""Folders of frames as videos, and lists of them."""

from pathlib import Path

import pytest

from hf_prompt_models.data.videos.frame_folders import FrameFolder, read_frame_list
from hf_prompt_models.data.videos.loading import UnreadableVideoError, load_video_views
from tests.videos import number_of, write_frames


def every_frame(folder: FrameFolder) -> list[int]:
    (frames,) = load_video_views(folder, lambda count: [list(range(count))])
    return [number_of(frame) for frame in frames]


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("img_{:05d}.jpg", 1),
        ("img_{:05d}.jpg", 0),
        ("{}.jpg", 1),
        ("v2 frame {} of it.png", 7),
        ("flow{:03d}.JPEG", 0),
    ],
)
def test_frames_come_in_the_order_of_their_numbers(pattern: str, first: int, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", 12, pattern, first)
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    assert every_frame(FrameFolder(folder)) == list(range(12))
    assert every_frame(FrameFolder(folder, num_frames=5)) == list(range(5))


def test_folders_without_one_order_are_refused_by_name(tmp_path: Path) -> None:
    def refused(reason: str, num_frames: int | None = None) -> None:
        with pytest.raises(UnreadableVideoError, match=rf"{folder}.*{reason}"):
            every_frame(FrameFolder(folder, num_frames))

    folder = write_frames(tmp_path / "clip", 3)
    refused("4 are listed, but 3 are present", num_frames=4)
    (folder / "thumbnail.jpg").write_bytes(b"")
    refused("'thumbnail.jpg' has no number")
    (folder / "thumbnail.jpg").rename(folder / "flow_00004.jpg")
    refused("only in one running number")
    (folder / "flow_00004.jpg").rename(folder / "img_3.jpg")
    refused("only in one running number")
    (folder / "img_3.jpg").rename(folder / "img_00004.jpg")
    refused(r"img_00004\.jpg")  # it is empty
    folder = tmp_path / "nothing"
    refused("No such file")
    folder.mkdir()
    refused("contains 0 images")


def test_lists_are_read_from_the_right(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeffa/b 10 3\n\nplaying an accordion/clip 1  120\t0\r\n/x/7 8 9 1 2\n")
    assert list(read_frame_list(tmp_path / "list.txt")) == [
        ("a/b", 10, 3),
        ("playing an accordion/clip 1", 120, 0),
        ("/x/7 8 9", 1, 2),
    ]


@pytest.mark.parametrize("line", ["a/b 10", "a/b 10 x", "a/b ten 3", "a/b 0 3", "a/b -1 3", "a/b 3 ²", "a,10,3"])
def test_other_lines_are_refused_by_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a/b 10 3\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: expected"):
        read_frame_list(tmp_path / "list.txt")


def test_a_list_without_videos_or_not_of_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(ValueError, match="lists no videos"):
        read_frame_list(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="UTF-8"):
        read_frame_list(tmp_path / "list.txt")
