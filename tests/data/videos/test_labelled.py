"""Labelled videos: their sources and operations."""

import hashlib
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from hf_prompt_models.data.few_shot import read_few_shot_sample, sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.labelled import readable_sets
from hf_prompt_models.data.videos.labelled import LabelledVideos, read_labelled_videos, read_labels
from hf_prompt_models.data.videos.loading import UnreadableVideoError
from tests.videos import number_of, numbered, write_frames, write_video


def clip(path: Path, number: int) -> Path:
    """A clip all of whose frames show `number`."""
    return write_video(path, [numbered(number)] * 3, "mpeg4")


def shown(videos: LabelledVideos) -> list[int]:
    return [number_of(videos.load(index, 1)[0]) for index in range(len(videos))]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two classes, of three and two clips."""
    directory = tmp_path / "clips"
    for number, name in enumerate(["jump/a b.mp4", "jump/c.avi", "run/deep/d.mp4"]):
        clip(directory / name, number)
    write_frames(directory / "jump" / "frames of e", 3)
    write_frames(directory / "run" / "f", 3)
    (directory / "run" / "notes.txt").write_text("no video")
    (directory / ".cache").mkdir()
    return directory


def test_a_folder_of_class_folders(directory: Path) -> None:
    videos = read_labelled_videos(directory, "train")
    assert list(videos.class_names) == ["jump", "run"]
    assert list(videos.labels) == [0, 0, 0, 1, 1]
    assert list(videos.names) == ["jump/a b.mp4", "jump/c.avi", "jump/frames of e", "run/deep/d.mp4", "run/f"]
    assert shown(videos) == [0, 1, 1, 2, 1]
    assert not videos.multi_label
    assert shown(pickle.loads(pickle.dumps(videos.select([3, 0])))) == [2, 0]  # as spawned workers get it
    drawn = {number_of(videos.load(2, 1, np.random.default_rng(seed))[0]) for seed in range(20)}
    assert drawn == {0, 1, 2}


def test_splits_are_folders(directory: Path) -> None:
    whole = directory.rename(directory.parent / "train")
    for source in (whole.parent, f"{whole.parent}:train"):
        assert read_labelled_videos(source, "train").source == str(whole)
    with pytest.raises(
        ValueError, match=r"no split 'test'\. Its splits are train\. Choose one of them, such as .*/train\."
    ):
        read_labelled_videos(f"{whole.parent}:test", "train")


def test_a_list_of_frame_folders_and_its_labels(directory: Path) -> None:
    (directory / "list.txt").write_text(f"jump/frames of e 3 2\nrun/f 1 0\n{directory}/jump/a b.mp4 99 1\n")
    (directory / "labels.csv").write_text('id,name\n0,running\n1,"jumping, high"\n2,jumping\n')
    videos = read_labelled_videos(directory / "list.txt", "train", directory / "labels.csv")
    assert list(videos.class_names) == ["running", "jumping, high", "jumping"]
    assert list(videos.labels) == [2, 0, 1]
    assert shown(videos) == [1, 0, 0]  # of the second folder, the first frame alone
    with pytest.raises(ValueError, match="Pass the names"):
        read_labelled_videos(directory / "list.txt", "train")
    (directory / "list.txt").write_text("run/f 3 3\n")
    with pytest.raises(ValueError, match="class index 3, but only 3 classes"):
        read_labelled_videos(directory / "list.txt", "train", directory / "labels.csv")
    with pytest.raises(ValueError, match="only with a list"):
        read_labelled_videos(directory, "train", directory / "labels.csv")


def test_videos_with_several_labels(directory: Path) -> None:
    table = directory / "charades.csv"
    table.write_text('path,labels\njump/a b.mp4,sit; open a door\nrun/f,"eat, standing"\nrun/deep/d.mp4,sit\n')
    videos = read_labelled_videos(table, "train")
    assert list(videos.class_names) == ["eat, standing", "open a door", "sit"]
    assert list(videos.labels) == [[1, 2], [0], [2]]
    assert videos.multi_label
    assert shown(videos) == [0, 1, 2]
    (directory / "labels.csv").write_text('id,name\nc0,sit\nc1,open a door\nc2,run\nc3,"eat, standing"\n')
    ordered = read_labelled_videos(table, "train", directory / "labels.csv")
    assert list(ordered.labels) == [[0, 1], [3], [0]]
    assert list(videos.with_classes(ordered.class_names).labels) == [[1, 0], [3], [0]]
    fewer = ordered.subset_of_classes([1, 3])
    assert (list(fewer.labels), list(fewer.class_names)) == ([[0], [1]], ["open a door", "eat, standing"])
    assert shown(fewer) == [0, 1]
    with pytest.raises(ValueError, match="several labels"):
        sample_few_shot(videos, 1, seed=0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\na,b\n", "expected the first line 'path,labels'"),
        ("path,labels\na,b\nc\n", "row 2: expected 2 columns"),
        ("path,labels\na,b,c\n", "row 1: expected 2 columns"),
        ("path,labels\na,b\nc,\n", "row 2: expected a path and class names"),
        ("path,labels\na,b;c;b\n", "row 1: expected a path and class names without repetition"),
        ("path,labels\na,b\n", "at least two classes"),
        ('path,labels\n"a,b\n', "cannot be read as CSV"),
        ("", "expected the first line"),
    ],
)
def test_damaged_tables_are_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"table\.csv.*{reason}"):
        read_labelled_videos(tmp_path / "table.csv", "train")


def test_unknown_classes_and_damaged_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,labels\na,b;c\n")
    (tmp_path / "labels.csv").write_text("id,name\n0,b\n1,d\n")
    with pytest.raises(ValueError, match="row 1: 'c' is not one of the 2 classes"):
        read_labelled_videos(tmp_path / "table.csv", "train", tmp_path / "labels.csv")
    for text in ("id,name\n0,\n1,b\n", "id,name\n0,b\n", "name\nb\nc\n"):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(ValueError, match=r"labels\.csv"):
            read_labels(tmp_path / "labels.csv")


def test_folders_that_are_not_laid_out_so_are_refused(directory: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no folder or list '.*nowhere'"):
        read_labelled_videos(directory / "nowhere", "train")
    with pytest.raises(ValueError, match="at least 2 are needed"):
        read_labelled_videos(directory / "run" / "deep", "train")
    (directory / "sit").mkdir()
    with pytest.raises(ValueError, match="sit contains no videos"):
        read_labelled_videos(directory, "train")
    write_frames(directory / "sit" / "frames", 2)
    for path in (directory / "sit" / "frames").iterdir():
        path.rename(directory / "sit" / path.name)
    (directory / "sit" / "frames").rmdir()
    with pytest.raises(ValueError, match="Put the frames of each video in a folder"):
        read_labelled_videos(directory, "train")


def test_all_broken_videos_are_listed_or_skipped_and_counted(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "jump" / "c.avi").write_bytes(b"")
    (directory / "run" / "f" / "img_00003.jpg").write_bytes(b"torn")
    videos = read_labelled_videos(directory, "train")
    with pytest.raises(UnreadableVideoError, match=r"(?s)2 files.*--on_unreadable skip.*c\.avi.*empty.*img_00003"):
        videos.readable("refuse")
    with caplog.at_level(logging.WARNING):
        kept = videos.readable("skip")
    assert list(kept.names) == ["jump/a b.mp4", "jump/frames of e", "run/deep/d.mp4"]
    assert shown(kept) == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records][-1] == f"Skipped 2 of the 5 videos of {directory}."
    assert sum("c.avi" in record.getMessage() for record in caplog.records) == 1


def test_few_shot_samples_pass_over_broken_videos(directory: Path) -> None:
    (directory / "jump" / "c.avi").write_bytes(b"")
    videos = read_labelled_videos(directory, "train")
    with pytest.raises(ValueError, match=r"jump \(2\).*Add videos"):
        sample_few_shot(videos, 3, seed=0, on_unreadable="skip")
    sample = sample_few_shot(videos, 2, seed=0, on_unreadable="skip")
    assert sorted(sample) == [0, 2, 3, 4]
    write_few_shot_sample(directory / "few_shot.json", videos, sample, shots=2, seed=0)
    assert read_few_shot_sample(directory / "few_shot.json", videos) == sample


def test_a_digest_tells_what_a_video_holds(directory: Path) -> None:
    videos = read_labelled_videos(directory, "train")
    assert videos.digest(0) == hashlib.sha256((directory / "jump" / "a b.mp4").read_bytes()).digest()
    assert videos.digest(2) == videos.digest(4)  # equal frames
    (directory / "run" / "f" / "img_00001.jpg").write_bytes(b"other")
    assert videos.digest(2) != videos.digest(4)


def test_folders_are_named_in_words_and_a_list_of_labels_as_it_is(directory: Path) -> None:
    (directory / "jump").rename(directory / "long__jump_")
    videos = read_labelled_videos(directory, "train")
    assert list(videos.class_names) == ["long jump", "run"]
    assert videos.names[0] == "long__jump_/a b.mp4"
    (directory / "labels.csv").write_text("id,name\n0,long_jump\n1,Run_\n")
    assert read_labels(directory / "labels.csv") == ["long_jump", "Run_"]
    # A model that was made of such a list is tested on such folders.
    renamed = videos.with_classes(["run", "long_jump", "sit"])
    assert list(renamed.class_names) == ["run", "long_jump", "sit"]
    assert list(renamed.labels) == [1, 1, 1, 0, 0]


def test_what_is_broken_in_several_sets_is_listed_at_once(directory: Path, tmp_path: Path) -> None:
    whole = read_labelled_videos(directory, "train")
    other = read_labelled_videos(shutil.copytree(directory, tmp_path / "other"), "train")
    (directory / "jump" / "c.avi").write_bytes(b"")
    (tmp_path / "other" / "run" / "deep" / "d.mp4").write_bytes(b"")
    with pytest.raises(UnreadableVideoError, match=r"(?s)2 files.*clips/jump/c\.avi.*other/run/deep/d\.mp4"):
        readable_sets([whole, other], "refuse")
    assert [len(kept) for kept in readable_sets([whole, other], "skip", progress=False)] == [4, 4]
    with pytest.raises(UnreadableVideoError, match="None of the videos of"):
        whole.select([1]).readable("skip")


def test_all_broken_videos_that_would_be_sampled_are_listed(directory: Path) -> None:
    for name in ("jump/c.avi", "run/deep/d.mp4"):
        (directory / name).write_bytes(b"")
    with pytest.raises(UnreadableVideoError, match=r"(?s)2 files.*c\.avi.*d\.mp4"):
        sample_few_shot(read_labelled_videos(directory, "train"), 3, seed=0)
