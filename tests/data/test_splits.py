"""Splits are recognised in every spelling, and hidden or linked folders are handled."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from hf_prompt_models.data.images.files import find_images
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.listing import read_tree
from hf_prompt_models.data.splits import split_of
from hf_prompt_models.data.videos.files import videos_in
from hf_prompt_models.data.videos.labelled import read_labelled_videos


def write(directory: Path, *names: str, file_format: str = "PNG") -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(directory / name, file_format)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        (
            "train",
            ["train", "Training", "TRAIN", "train_set", "Trainset", "training set", "train2017"],
        ),
        ("val", ["val", "Valid", "VALIDATION", "dev", "dev_set", "val2014", "validation data", "Validate"]),
        ("test", ["test", "Testing", "TEST", "Test set", "test_images", "eval", "Evaluation", "testset"]),
        (None, ["trains", "trainer", "tests", "developer", "contest", "valley", "evaluate me", "", "テスト"]),
    ],
)
def test_spellings_of_splits(split: str | None, names: list[str]) -> None:
    assert {name: split_of(name) for name in names} == dict.fromkeys(names, split)


@pytest.mark.parametrize("train", ["Training", "TRAIN", "train_set"])
@pytest.mark.parametrize("test", ["Validation", "Test set", "eval"])
@pytest.mark.parametrize("kind", ["images", "frames"])
def test_folders_with_names_of_splits_are_no_classes(tmp_path: Path, train: str, test: str, kind: str) -> None:
    files = ["cat/1.png", "dog/2.png"] if kind == "images" else ["cat/a/1.png", "dog/b/1.png"]
    write(tmp_path, *(f"{split}/{file}" for split in (train, test) for file in files))
    read = read_labelled_images if kind == "images" else read_labelled_videos
    found = read(tmp_path, "train")
    assert (found.source, found.class_names) == (str(tmp_path / train), ["cat", "dog"])
    assert read(f"{tmp_path}:{test}", "train").source == str(tmp_path / test)
    wanted = "val" if test == "Validation" else "test"
    missing = "test" if wanted == "val" else "val"
    assert read(tmp_path, wanted).source == str(tmp_path / test)
    with pytest.raises(
        ValueError, match=rf"no split '{missing}' .*Its splits are .*{train}.*Pass one of them, such as .*/"
    ):
        read(tmp_path, missing)


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    write(tmp_path, "train/1.png", "bus/2.png", "test/3.png", "val/a/4.png")
    assert read_labelled_images(tmp_path, "train").class_names == ["bus", "test", "train", "val"]
    write(tmp_path / "videos", "train/a/1.png", "bus/b/1.png")
    assert read_labelled_videos(tmp_path / "videos", "train").class_names == ["bus", "train"]


def test_splits_without_classes_and_classes_with_splits_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "flat", "train/1.png", "test/2.png")
    with pytest.raises(ValueError, match=r"has splits \(test, train\) without class folders"):
        read_labelled_images(tmp_path / "flat", "train")
    write(tmp_path / "half", "train/cat/1.png", "train/dog/1.png", "test/2.png")
    with pytest.raises(
        ValueError, match=r"no split 'test' with class folders\. Its splits are train\. Pass .*half/train\."
    ):
        read_labelled_images(tmp_path / "half", "test")
    write(tmp_path / "inside", *(f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("Train", "Test")))
    with pytest.raises(ValueError, match=r"Found splits inside class folders: .*cat"):
        read_labelled_images(tmp_path / "inside", "train")
    write(tmp_path / "two", *(f"{split}/{name}/1.png" for name in ("cat", "dog") for split in ("val", "dev", "train")))
    with pytest.raises(ValueError, match="several splits for 'validation': dev, val"):
        read_labelled_images(tmp_path / "two", "validation")
    assert read_labelled_images(tmp_path / "two", "val").source == str(tmp_path / "two" / "val")


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", ".Trash-1000"])
def test_hidden_folders_are_neither_classes_nor_data(tmp_path: Path, hidden: str) -> None:
    write(tmp_path, "cat/1.png", "dog/2.png", f"{hidden}/3.png", f"cat/{hidden}/4.png", f"dog/deep/{hidden}/x/5.png")
    write(tmp_path, "cat/._1.png", "dog/Thumbs.db")
    images = read_labelled_images(tmp_path, "train")
    assert (images.class_names, images.names) == (["cat", "dog"], ["cat/1.png", "dog/2.png"])
    assert [path.name for path in find_images(tmp_path)] == ["1.png", "2.png"]
    (tmp_path / hidden / "clip.mp4").write_bytes(b"")
    (tmp_path / "cat" / hidden / "clip.mp4").write_bytes(b"")
    assert [path.name for path in videos_in(tmp_path)] == ["cat", "dog"]


def test_files_that_are_not_used_are_reported_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "cat/1.PNG", "dog/2.png", "loose.png")
    (tmp_path / "cat" / "notes.txt").write_text("Pictures of cats.")
    os.symlink(tmp_path / "nowhere.png", tmp_path / "dog" / "broken.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    with caplog.at_level(logging.WARNING):
        assert len(read_labelled_images(tmp_path, "train")) == 2
    assert caplog.messages == [
        f"Ignored 4 file(s) of {tmp_path} that are not images in a class folder: loose.png, cat/notes.txt, "
        "dog/broken.png, dog/pipe.png"
    ]


@pytest.mark.parametrize(
    ("name", "file_format"),
    [
        ("a.jfif", "JPEG"),
        ("a.JPE", "JPEG"),
        ("a.avif", "AVIF"),
        ("a.jp2", "JPEG2000"),
        ("a", "PNG"),
        ("a.HEIC", "AVIF"),
        ("a.Tiff", "TIFF"),
        ("a.webp", "WEBP"),
        ("a.j2k", "JPEG2000"),
        ("a.img", "GIF"),
        ("a.backup.1", "BMP"),
    ],
)
def test_every_readable_format_is_found_whatever_its_name(tmp_path: Path, name: str, file_format: str) -> None:
    write(tmp_path, f"cat/{name}", f"dog/{name}", file_format=file_format)
    assert len(read_labelled_images(tmp_path, "train").readable("refuse", progress=False)) == 2
    assert [path.name for path in find_images(tmp_path)] == [name, name]


@pytest.mark.parametrize("name", ["frame_{}.jp2", "{}", "img_{}.JFIF", "{}.tiff"])
def test_frames_are_of_every_readable_format(tmp_path: Path, name: str) -> None:
    file_format = {"jp2": "JPEG2000", "tiff": "TIFF"}.get(name.rpartition(".")[2], "JPEG")
    for split in ("jump", "run"):
        write(tmp_path, *(f"{split}/clip/{name.format(number)}" for number in (9, 10)), file_format=file_format)
    videos = read_labelled_videos(tmp_path, "train")
    assert videos.names == ["jump/clip", "run/clip"]
    assert len(videos.load(0, 2)) == 2


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path, "more/deep/g.png", "box/a.png")
    (tmp_path / "box" / "link").symlink_to(tmp_path / "more")
    (tmp_path / "box" / "f.png").symlink_to(tmp_path / "more" / "deep" / "g.png")
    (tmp_path / "more" / "up").symlink_to(tmp_path / "box")
    for number in range(12):  # each leads to all others
        write(tmp_path, f"box/{number}/x.png")
        for other in range(12):
            (tmp_path / "box" / str(number) / f"to{other}").symlink_to(tmp_path / "box" / str(other))
    names = [path.relative_to(tmp_path / "box").as_posix() for path in find_images(tmp_path / "box")]
    assert names == sorted(["a.png", "f.png", "link/deep/g.png", *(f"{number}/x.png" for number in range(12))])
    assert len(list(read_tree(tmp_path / "box").walk())) == 15
    (tmp_path / "classes").mkdir()
    for name in ("cat", "kitten"):
        (tmp_path / "classes" / name).symlink_to(tmp_path / "more")
    assert read_labelled_images(tmp_path / "classes", "train").class_names == ["cat", "kitten"]


def test_class_names_are_compared_in_one_form(tmp_path: Path) -> None:
    write(tmp_path, "train/cafe\u0301/1.png", "train/tea/2.png", "test/caf\u00e9/1.png", "test/tea/2.png")
    train, test = (read_labelled_images(tmp_path, split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ["caf\u00e9", "tea"]
    assert test.with_classes(["tea", "cafe\u0301 "]).labels == [1, 0]
    (tmp_path / "list.csv").write_text("path,labels\na.mp4,cafe\u0301;tea\nb.mp4,caf\u00e9 \n", encoding="utf-8")
    assert read_labelled_videos(tmp_path / "list.csv", "test").labels == [[0, 1], [0]]
    write(tmp_path / "twice", "cafe\u0301/1.png", "caf\u00e9/2.png")
    with pytest.raises(ValueError, match="have the same name in a prompt, 'caf\u00e9'"):
        read_labelled_images(tmp_path / "twice", "train")


@pytest.mark.parametrize(
    ("folders", "wanted", "found"),
    [
        (["birds_train", "birds_test"], "test", "birds_test"),
        (["test-1", "train-1"], "train", "train-1"),
        (["held out", "training"], "train", "training"),
        (["held out", "training"], "test", None),
        (["train-a", "train-b"], "test", None),
    ],
)
def test_folders_of_the_same_classes_are_splits_if_one_is_called_so(
    tmp_path: Path, folders: list[str], wanted: str, found: str | None
) -> None:
    write(tmp_path, "notes/1.png", *(f"{folder}/{name}/1.png" for folder in folders for name in ("wren", "finch")))
    if found is None:
        with pytest.raises(
            ValueError, match=f"no split {wanted!r} with class folders. Its splits are {', '.join(folders)}"
        ):
            read_labelled_images(tmp_path, wanted)
    else:
        assert read_labelled_images(tmp_path, wanted).source == str(tmp_path / found)


def test_classes_with_folders_of_their_own_stay_classes(tmp_path: Path) -> None:
    write(tmp_path, "test tube/glass/1.png", "test tube/steel/1.png", "beaker/glass/1.png", "beaker/lids/1.png")
    assert read_labelled_images(tmp_path, "train").class_names == ["beaker", "test tube"]


def test_links_that_lead_back_out_of_a_class_give_it_no_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "wren/1.png", "finch/2.png")
    (tmp_path / "wren" / "all").symlink_to(tmp_path)
    (tmp_path / "all").symlink_to(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = read_labelled_images(tmp_path, "train")
    assert (found.class_names, list(found.names)) == (["finch", "wren"], ["finch/2.png", "wren/1.png"])
    assert f"Ignored 1 file(s) of {tmp_path} that are not images in a class folder: wren/all" in caplog.text


@pytest.mark.parametrize("read", [read_labelled_images, read_labelled_videos])
def test_the_folder_of_a_run_is_no_class(tmp_path: Path, read: Callable[..., object]) -> None:
    write(tmp_path, "wren/a/1.png", "finch/b/1.png", "out/learning_curve.png")
    (tmp_path / "out" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="out is the folder of a training run, not of a class"):
        read(tmp_path, "train")
