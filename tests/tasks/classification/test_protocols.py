"""Training and test data of each protocol."""

from pathlib import Path

import pytest

from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.tasks.classification.arguments import ClassificationArguments
from hf_prompt_models.tasks.classification.protocols import ProtocolData, read_protocol
from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("things")
    for split in ("train", "test"):
        write_pictures(directory / split, {"ant": 2, "bee": 2, "cat": 2, "dog": 2, "elk": 2})
    write_pictures(directory / "other" / "test", {"zebra": 1, "yak": 2})
    write_pictures(directory / "euro" / "test", {"AnnualCrop": 1, "SeaLake": 1})
    return directory


def task(data: Path, **changes: object) -> ProtocolData:
    arguments = {"backbone": "B", "train_dir": str(data / "train"), "test_dir": str(data / "test")} | changes
    return read_protocol(ClassificationArguments(**arguments), read_labelled_images)


def test_few_shot_tests_all_classes(data: Path) -> None:
    few_shot = task(data)
    assert few_shot.title == data.name
    assert list(few_shot.train.class_names) == ["ant", "bee", "cat", "dog", "elk"]
    assert list(few_shot.tests) == ["test"]
    assert few_shot.tests["test"].templates == ["a photo of a {}."]
    assert len(few_shot.tests["test"].images) == 10


def test_base_to_new_trains_on_the_first_half_and_tests_each_half_within_itself(data: Path) -> None:
    halves = task(data, protocol="base-to-new")
    assert list(halves.train.class_names) == ["ant", "bee", "cat"]
    assert {name.split("/")[0] for name in halves.train.names} == {"ant", "bee", "cat"}
    base, new = halves.tests["base"].images, halves.tests["new"].images
    assert (list(base.class_names), list(base.labels)) == (["ant", "bee", "cat"], [0, 0, 1, 1, 2, 2])
    assert (list(new.class_names), list(new.labels)) == (["dog", "elk"], [0, 0, 1, 1])
    assert list(new.names) == ["dog/000.png", "dog/001.png", "elk/000.png", "elk/001.png"]


def test_cross_dataset_tests_each_target_on_its_own_classes(data: Path) -> None:
    crossed = task(
        data,
        protocol="cross-dataset",
        target_dirs=[str(data / "other"), f"eurosat={data / 'euro'}", str(data / "other" / "test")],
    )
    assert list(crossed.tests) == ["source", "other", "EuroSAT", "other (2)"]
    assert list(crossed.tests["other"].images.class_names) == ["yak", "zebra"]
    assert list(crossed.tests["EuroSAT"].images.class_names) == ["Annual Crop Land", "Sea or Lake"]
    assert crossed.tests["EuroSAT"].templates == ["a centered satellite photo of {}."]
    assert crossed.tests["other"].templates == ["a photo of a {}."]


def test_templates_that_are_given_hold_for_all(data: Path) -> None:
    given = {
        "templates": ["a {}.", "the {}."],
        "protocol": "cross-dataset",
        "target_dirs": [f"eurosat={data / 'euro'}"],
    }
    assert all(test.templates == ["a {}.", "the {}."] for test in task(data, **given).tests.values())


def test_templates_come_from_files_and_published_lists(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a sketch of a {}.\n\na {}.\n")
    given = task(data, templates=[str(tmp_path / "mine.txt"), "dtd_prompt"]).tests["test"].templates
    assert given == ["a sketch of a {}.", "a {}.", "{} texture."]
    with pytest.raises(ValueError, match=r"'mine\.txt' must contain"):
        task(data, templates=["mine.txt"])


def test_a_published_data_set_in_folders_gets_its_names_prompt_and_title(data: Path) -> None:
    folder = str(data / "euro" / "test")
    named = task(data, train_dir=folder, test_dir=folder, dataset="eurosat")
    assert named.title == "EuroSAT"
    assert list(named.train.class_names) == ["Annual Crop Land", "Sea or Lake"]
    assert named.tests["test"].templates == ["a centered satellite photo of {}."]


def test_too_few_classes_for_two_halves_are_refused(data: Path) -> None:
    folder = str(data / "other" / "test")
    with pytest.raises(ValueError, match="2 classes, but base-to-new needs at least 4"):
        task(data, train_dir=folder, test_dir=folder, protocol="base-to-new")


def test_a_half_without_test_images_is_refused(data: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path, {"ant": 1, "bee": 1})
    with pytest.raises(ValueError, match="no images of the new classes"):
        task(data, test_dir=str(tmp_path), protocol="base-to-new")


@pytest.mark.parametrize(
    ("source", "title"), [("pets/train", "pets"), ("pets", "pets"), ("user/pets", "pets"), ("test", "test")]
)
def test_a_source_is_called_by_its_folder(source: str, title: str) -> None:
    assert source_title(source) == title
