"""Holding out part of every class by content, and reading the parts again."""

import csv
import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image

from hf_prompt_models.data.held_out import check_same_split, describe_split, hold_out, report_untested
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.videos.labelled import read_labelled_videos
from tests.pictures import write_pictures
from tests.videos import write_video


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "photos", {"ant": 10, "bee": 5, "cat": 2, "dog": 1})
    return tmp_path / "photos"


def counts(files: LabelledFiles, indices: list[int]) -> dict[str, int]:
    return dict(Counter(files.class_names[files.labels[index]] for index in indices))


def test_each_class_gives_its_share_and_keeps_one_to_train_on(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = read_labelled_images(photos, "train")
    parts = hold_out(images, 0.3, seed=0)
    assert counts(images, parts.test) == {"ant": 3, "bee": 2, "cat": 1}
    assert counts(images, parts.train) == {"ant": 7, "bee": 3, "cat": 1, "dog": 1}
    assert sorted(parts.train + parts.test) == list(range(18))
    with caplog.at_level(logging.WARNING):
        report_untested(images, parts)
    assert "1 class(es)" in caplog.text
    assert "not for testing: dog" in caplog.text
    assert counts(images, hold_out(images, 0.99, seed=0).train) == {"ant": 1, "bee": 1, "cat": 1, "dog": 1}
    assert counts(images, hold_out(images, 0.01, seed=0).test) == {"ant": 1, "bee": 1, "cat": 1}


def test_the_seed_decides_and_the_order_of_the_files_does_not(photos: Path) -> None:
    images = read_labelled_images(photos, "train")
    names = {seed: {images.names[index] for index in hold_out(images, 0.3, seed).test} for seed in (0, 1)}
    assert names[0] != names[1]
    backwards = images.select(range(len(images) - 1, -1, -1))
    assert {backwards.names[index] for index in hold_out(backwards, 0.3, 0).test} == names[0]


def test_equal_files_stay_together_also_across_classes(photos: Path) -> None:
    for number in range(6):
        shutil.copy(photos / "ant" / "000.png", photos / "ant" / f"copy{number}.png")
    shutil.copy(photos / "ant" / "000.png", photos / "bee" / "ant.png")
    images = read_labelled_images(photos, "train")
    for seed in range(8):
        parts = hold_out(images, 0.4, seed)
        train, test = ({images.digest(index) for index in part} for part in (parts.train, parts.test))
        assert not train & test
        assert {images.labels[index] for index in parts.train} == {0, 1, 2, 3}


def test_classes_of_one_file_each_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "few", {"ant": 1, "bee": 1})
    with pytest.raises(ValueError, match="each class has only one image"):
        hold_out(read_labelled_images(tmp_path / "few", "train"), 0.5, 0)


def split_of(images: LabelledFiles, source: str, path: Path) -> Path:
    parts = hold_out(images, 0.3, 0)
    path.write_text(json.dumps(describe_split(images, parts, source, 0.3, 0)))
    return path


def test_a_split_file_gives_both_parts_again(photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(photos.parent)
    images = read_labelled_images("photos", "train")
    file = split_of(images, "photos", tmp_path / "split.json")
    parts = hold_out(images, 0.3, 0)
    digests = {name: images.digest(index) for index, name in enumerate(images.names)}
    monkeypatch.chdir(photos)
    for part, indices in (("train", parts.train), ("test", parts.test)):
        read = read_labelled_images(file, part)
        assert list(read.class_names) == ["ant", "bee", "cat", "dog"]
        assert sorted(read.names) == sorted(images.names[index] for index in indices)
        assert [read.digest(index) for index in range(len(read))] == [digests[name] for name in read.names]


def test_a_split_file_whose_files_are_gone_is_refused(photos: Path, tmp_path: Path) -> None:
    images = read_labelled_images(photos, "train")
    file = split_of(images, str(photos), tmp_path / "split.json")
    split = json.loads(file.read_text())
    (photos / split["test"][0]).unlink()
    with pytest.raises(ValueError, match=f"lacks 1 of the {len(split['test'])} images.*{split['test'][0]}"):
        read_labelled_images(file, "test")
    file.write_text(json.dumps(split | {"test": "ant/000.png"}))
    with pytest.raises(ValueError, match="is not a split"):
        read_labelled_images(file, "test")


def test_rows_of_a_data_set_are_held_out(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    features = Features({"image": Image(), "label": ClassLabel(names=["ant", "bee", "cat", "dog"])})
    labels = [features["label"].str2int(file.parent.name) for file in files]
    Dataset.from_dict({"image": [str(file) for file in files], "label": labels}, features).save_to_disk(
        tmp_path / "saved"
    )
    images: LabelledImages = read_labelled_images(tmp_path / "saved", "train")
    file = split_of(images, str(tmp_path / "saved"), tmp_path / "split.json")
    read = read_labelled_images(file, "test")
    assert counts(read, list(range(len(read)))) == {"ant": 3, "bee": 2, "cat": 1}


def test_videos_with_several_labels_are_held_out_together(tmp_path: Path) -> None:
    rows = [["path", "labels"]]
    for number in range(10):
        write_video(tmp_path / f"{number}.mp4", 2 + number)
        rows.append([f"{number}.mp4", "run;jump" if number % 2 else "jump"])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    videos = read_labelled_videos(tmp_path / "list.csv", "train")
    parts = hold_out(videos, 0.2, 0)
    assert (len(parts.train), len(parts.test)) == (8, 2)
    read = read_labelled_videos(split_of(videos, str(tmp_path / "list.csv"), tmp_path / "split.json"), "test")
    assert read.multi_label
    assert len(read) == 3


def test_another_split_than_the_runs_is_refused(photos: Path, tmp_path: Path) -> None:
    images = read_labelled_images(photos, "train")
    file = split_of(images, str(photos), tmp_path / "split.json")
    same = json.loads(file.read_text())
    check_same_split(file, same)
    check_same_split(tmp_path / "none.json", same)
    with pytest.raises(ValueError, match="--split_seed"):
        check_same_split(file, same | {"seed": 1})
    with pytest.raises(ValueError, match="files of --train_dir changed"):
        check_same_split(file, same | {"test": same["test"][:-1]})
