"""Lists of images: split files of known and unknown datasets, lists of FGVCAircraft, and names of ImageNet."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data import split_files
from hf_prompt_models.data.images.labelled import read_labelled_images


def write_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(folder / name)


PETS = {
    "train": [["siamese_2.png", 1, "siamese"], ["boxer_1.png", 0, "boxer"], ["siamese_1.png", 1, "siamese"]],
    "val": [["boxer_2.png", 0, "boxer"]],
    "test": [["siamese_3.png", 1, "siamese"], ["tabby_1.png", 2, "tabby"]],
}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    names = [name for entries in PETS.values() for name, _, _ in entries]
    write_images(tmp_path / "oxford_pets" / "images", *names)
    (tmp_path / "oxford_pets" / "split_zhou_OxfordPets.json").write_text(json.dumps(PETS))
    return tmp_path / "oxford_pets"


def split_file(directory: Path, value: Any) -> Path:
    write_images(directory, "a.png", "b.png")
    path = directory / "split_zhou_Mine.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_published_split_is_read_in_its_order_with_all_classes(pets: Path) -> None:
    train = read_labelled_images(pets, "train")
    assert train.source == str(pets)
    assert list(train.class_names) == ["boxer", "siamese", "tabby"]  # tabby is in test alone, and a class all the same
    assert list(train.labels) == [1, 0, 1]
    assert list(train.names) == ["images/siamese_2.png", "images/boxer_1.png", "images/siamese_1.png"]
    assert [np.asarray(train.load(index))[0, 0, 0] for index in range(3)] == [0, 1, 2]
    assert list(read_labelled_images(pets, "val").labels) == [0]
    assert list(read_labelled_images(pets, "test").labels) == [1, 2]
    assert pickle.loads(pickle.dumps(train)).load(2).size == (4, 3)  # as spawned workers get it


def test_a_folder_or_a_split_file_may_say_its_split(pets: Path) -> None:
    file = pets / "split_zhou_OxfordPets.json"
    for source in (f"{pets}:val", f"{file}:val"):
        assert list(read_labelled_images(source, "train").names) == ["images/boxer_2.png"]
    assert len(read_labelled_images(file, "train")) == 3
    assert list(read_labelled_images(f"{file}:validation", "train").names) == ["images/boxer_2.png"]
    with pytest.raises(ValueError, match=r"Pets\.json has no split 'extra'\. Its splits are train, val, test"):
        read_labelled_images(f"{file}:extra", "train")


@pytest.mark.parametrize("folder", [".", "photos"])
def test_an_unknown_split_file_finds_its_images_next_to_it_or_in_the_one_folder_that_has_them(
    tmp_path: Path, folder: str
) -> None:
    write_images(tmp_path / folder, "x/1.png", "y/1.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "split_zhou_Mine.json").write_text('{"train": [["x/1.png", 0, "x"], ["y/1.png", 1, "y"]]}')
    names = list(read_labelled_images(tmp_path, "train").names)
    assert names == ([f"{folder}/x/1.png", f"{folder}/y/1.png"] if folder != "." else ["x/1.png", "y/1.png"])


def test_images_that_several_folders_hold_are_not_guessed(tmp_path: Path) -> None:
    write_images(tmp_path / "large", "1.png", "2.png")
    write_images(tmp_path / "small", "1.png", "2.png")
    (tmp_path / "split_zhou_Mine.json").write_text('{"train": [["1.png", 0, "x"], ["2.png", 1, "y"]]}')
    with pytest.raises(ValueError, match=r"several folders next to the file \(large, small\)"):
        read_labelled_images(tmp_path, "train")


def test_several_split_files_in_a_folder_are_not_guessed(pets: Path) -> None:
    (pets / "split_zhou_Mine.json").write_text(json.dumps(PETS))
    with pytest.raises(ValueError, match=r"2 split files \(split_zhou_Mine\.json, split_zhou_OxfordPets\.json\)"):
        read_labelled_images(pets, "train")
    assert len(read_labelled_images(pets / "split_zhou_OxfordPets.json", "train")) == 3


def test_class_names_may_repeat(tmp_path: Path) -> None:
    path = split_file(tmp_path, {"train": [["a.png", 0, "missile"], ["b.png", 1, "missile"]]})
    assert list(read_labelled_images(path, "train").class_names) == ["missile", "missile"]


def test_missing_images_are_counted_and_named(pets: Path) -> None:
    names = [f"gone_{number}.png" for number in range(7)]
    entries = [["boxer_1.png", 0, "boxer"], *([name, 1, "gone"] for name in names)]
    (pets / "split_zhou_OxfordPets.json").write_text(json.dumps({"train": entries}))
    with pytest.raises(
        ValueError, match=r"7 of 8 images .*/images: 'gone_0\.png', .*'gone_4\.png' …\. Add these files"
    ):
        read_labelled_images(pets, "train")


GOOD = ["a.png", 0, "a"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ([GOOD], "is not a split file"),
        ({"train": {"a.png": 0}}, "is not a split file"),
        ({"train": []}, "no images for 'train'"),
        ({"test": [GOOD]}, "no split 'train'. Its splits are test"),
        ({"train": [GOOD, "b.png"]}, r"Mine\.json, entry 1 of 'train': expected \[image path, label, class name\]"),
        ({"train": [GOOD, ["b.png", 1]]}, "entry 1 of 'train'"),
        ({"train": [GOOD, ["b.png", True, "b"]]}, "entry 1 of 'train'"),
        ({"train": [GOOD, ["b.png", "1", "b"]]}, "entry 1 of 'train'"),
        ({"train": [GOOD, ["b.png", 1, " "]]}, "entry 1 of 'train'"),
        ({"train": [GOOD], "test": [GOOD, ["b.png", 1.0, "b"]]}, "entry 1 of 'test'"),
        ({"train": [GOOD, ["../b.png", 1, "b"]]}, r"entry 1 of 'train': '\.\./b\.png' is not a path within"),
        ({"train": [GOOD, ["/etc/passwd", 1, "b"]]}, "'/etc/passwd' is not a path within"),
        ({"train": [GOOD, ["x/../../b.png", 1, "b"]]}, "not a path within"),
        ({"train": [GOOD, ["", 1, "b"]]}, "not a path within"),
        ({"train": [GOOD, ["b\0.png", 1, "b"]]}, "not a path within"),
        ({"train": [GOOD, ["b.png", 2, "b"]]}, "without gaps, got 0, 2"),
        ({"train": [GOOD, ["b.png", -1, "b"]]}, "got -1, 0"),
        ({"train": [GOOD]}, "at least two labels .* got 0"),
        (
            {"train": [GOOD, ["b.png", 1, "b"]], "test": [["a.png", 1, "c"]]},
            "label 1 has the name 'c' here, but 'b' before",
        ),
    ],
)
def test_damaged_split_files_are_refused_by_file_and_entry(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labelled_images(split_file(tmp_path, value), "train")


def test_a_list_too_long_is_not_read(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_files, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match=r"Pets\.json has .* bytes, but lists of images may have at most 100"):
        read_labelled_images(pets, "train")


@pytest.fixture
def aircraft(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", "1025794.jpg", "0034309.jpg", "1340192.jpg")
    (tmp_path / "variants.txt").write_text("707-320\nA300B4\nF-16A/B\n")
    (tmp_path / "images_variant_train.txt").write_text("1025794 A300B4\n0034309 707-320\n")
    (tmp_path / "images_variant_test.txt").write_text("1340192 F-16A/B\n")
    return tmp_path


def test_aircraft_is_read_by_its_own_lists(aircraft: Path) -> None:
    train = read_labelled_images(aircraft, "train")
    assert list(train.class_names) == ["707-320", "A300B4", "F-16A/B"]
    assert list(train.labels) == [1, 0]
    assert list(train.names) == ["images/1025794.jpg", "images/0034309.jpg"]
    assert train.load(0).size == (4, 3)
    assert list(read_labelled_images(f"{aircraft}:test", "train").labels) == [2]
    with pytest.raises(ValueError, match=r"no .*images_variant_val\.txt"):
        read_labelled_images(aircraft, "val")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 Concorde", r"images_variant_train\.txt, line 3: 'Concorde' is not a variant"),
        ("../../1 A300B4", "line 3: '../../1' is not a path within"),
        ("17 A300B4", r"1 of 3 images .*: '17\.jpg'\."),
    ],
)
def test_damaged_aircraft_lists_are_refused_by_line(aircraft: Path, line: str, message: str) -> None:
    with (aircraft / "images_variant_train.txt").open("a") as file:
        file.write(line)
    with pytest.raises(ValueError, match=message):
        read_labelled_images(aircraft, "train")


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for part in ("train", "val"):
        write_images(tmp_path / "images" / part, "n02000000/1.png", "n01000000/1.png", f"n01000000/{part}.png")
    (tmp_path / "classnames.txt").write_text("n02000000 great white shark\nn01000000 tench\nn03000000 tench\n")
    return tmp_path


def test_imagenet_is_named_by_its_list_and_tested_on_its_validation_set(imagenet: Path) -> None:
    train = read_labelled_images(imagenet, "train")
    assert list(train.class_names) == ["tench", "great white shark"]
    assert list(train.names) == ["n01000000/1.png", "n01000000/train.png", "n02000000/1.png"]
    for split in ("test", "val"):
        assert "n01000000/val.png" in read_labelled_images(imagenet, split).names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("n01000000 tench\n", r"no names for 1 class folder\(s\) of .*train: n02000000"),
        ("n01000000 tench\n\nn02000000\n", "line 3: expected a new folder and its class name, got 'n02000000'"),
        ("n01000000 tench\nn01000000 shark\n", "line 2"),
        (b"n01000000 \xff", "not a UTF-8 text file"),
    ],
)
def test_damaged_names_of_imagenet_are_refused(imagenet: Path, names: str | bytes, message: str) -> None:
    (imagenet / "classnames.txt").write_bytes(names if isinstance(names, bytes) else names.encode())
    with pytest.raises(ValueError, match=message):
        read_labelled_images(imagenet, "train")
