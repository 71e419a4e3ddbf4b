"""Labelled images from folders and datasets."""

import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest

from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.images.loading import UnreadableImageError
from tests.pictures import write_pictures


def test_a_folder_gives_classes_and_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"b_bird": 1, "a_cat": 2})
    (tmp_path / "train" / "a_cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    images = read_labelled_images(tmp_path / "train", "train")
    assert images.class_names == ["a_cat", "b_bird"]
    assert list(images.labels) == [0, 0, 1]
    assert images.names == ["a_cat/000.png", "a_cat/001.png", "b_bird/000.png"]
    assert images.load(0).size == (40, 30)
    selected = images.select([2, 0])
    assert list(selected.names) == ["b_bird/000.png", "a_cat/000.png"]
    assert np.array_equal(np.asarray(selected.load(1)), np.asarray(images.load(0)))


def test_a_folder_with_splits_is_read_at_its_split(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"a": 1, "b": 1})
    write_pictures(tmp_path / "test", {"a": 2, "b": 1})
    assert len(read_labelled_images(tmp_path, "train")) == 2
    assert len(read_labelled_images(tmp_path, "test")) == 3


@pytest.mark.parametrize("classes", [{}, {"only": 3}])
def test_a_folder_without_two_classes_is_refused(tmp_path: Path, classes: dict[str, int]) -> None:
    (tmp_path / "data").mkdir()
    write_pictures(tmp_path / "data", classes)
    with pytest.raises(ValueError, match=rf"{len(classes)} class folder\(s\), but at least 2"):
        read_labelled_images(tmp_path / "data", "train")


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"full": 1, "empty": 0})
    with pytest.raises(ValueError, match=r"empty contains no images"):
        read_labelled_images(tmp_path, "train")


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ValueError, match="no folder '/nowhere/at/all'"):
        read_labelled_images("/nowhere/at/all", "train")
    with pytest.raises(ValueError, match="nowhere' is neither a local folder nor a dataset"):
        read_labelled_images("nowhere", "train")


def test_a_saved_data_set_gives_what_the_folder_gives(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "folder", {"cat": 2, "dog": 3})
    images = read_labelled_images(folder, "train")
    features = datasets.Features(
        {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"]), "id": datasets.Value("int64")}
    )
    columns = {
        "photo": [str(folder / name) for name in images.names],
        "kind": list(images.labels),
        "id": [0] * len(images),
    }
    data = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict({"train": data, "test": data.select([0, 4])}).save_to_disk(tmp_path / "saved")
    read = read_labelled_images(tmp_path / "saved", "train")
    assert (list(read.class_names), list(read.labels)) == (["cat", "dog"], [0, 0, 1, 1, 1])
    for index in range(len(read)):
        assert np.array_equal(np.asarray(read.load(index)), np.asarray(images.load(index)))
    assert list(read_labelled_images(tmp_path / "saved", "test").labels) == [0, 1]
    with pytest.raises(ValueError, match=r"no split 'validation'. Its splits are train, test"):
        read_labelled_images(tmp_path / "saved", "validation")


def test_labels_follow_another_list_of_classes_by_name(tmp_path: Path) -> None:
    images = read_labelled_images(write_pictures(tmp_path, {"b": 1, "d": 2}), "test")
    assert list(images.with_classes(["a", "b", "c", "d"]).labels) == [1, 3, 3]
    with pytest.raises(ValueError, match=r"1 class\(es\) that the model does not have: d\."):
        images.with_classes(["a", "b"])
    with pytest.raises(ValueError, match="names repeat"):
        images.with_classes(["b", "d", "d"])


def test_a_subset_of_classes_is_relabelled_in_its_order(tmp_path: Path) -> None:
    images = read_labelled_images(write_pictures(tmp_path, {"a": 2, "b": 1, "c": 1}), "test")
    subset = images.subset_of_classes([2, 0])
    assert list(subset.class_names) == ["c", "a"]
    assert list(subset.names) == ["a/000.png", "a/001.png", "c/000.png"]
    assert list(subset.labels) == [1, 1, 0]
    assert np.array_equal(np.asarray(subset.load(2)), np.asarray(images.load(3)))
    for labels in ([0, 0], [3], [-1]):
        with pytest.raises(ValueError, match="indices from 0 to 2 without repetition"):
            images.subset_of_classes(labels)


def test_unreadable_images_are_refused_or_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = read_labelled_images(write_pictures(tmp_path, {"a": 2, "b": 2}), "test")
    (tmp_path / "b" / "000.png").write_bytes(b"broken")
    with pytest.raises(UnreadableImageError, match=r"b/000\.png.*--on_unreadable skip"):
        images.readable("refuse")
    kept = images.readable("skip")
    assert list(kept.names) == ["a/000.png", "a/001.png", "b/001.png"]
    assert list(kept.labels) == [0, 0, 1]
    assert "b/000.png" in caplog.text


def test_a_split_of_a_saved_data_set_can_be_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "folder", {"cat": 1, "dog": 1})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    files = [str(folder / "cat" / "000.png"), str(folder / "dog" / "000.png")]
    data = datasets.Dataset.from_dict({"image": files, "label": [0, 1]}, features=features)
    datasets.DatasetDict({"validation": data}).save_to_disk(tmp_path / "saved")
    read = read_labelled_images(f"{tmp_path / 'saved'}:validation", "test")
    assert len(pickle.loads(pickle.dumps(read.select([1, 0]))).load(0).getbands()) == 3  # as spawned workers get it
