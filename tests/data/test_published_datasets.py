"""The eleven datasets of the papers."""

from pathlib import Path

import pytest

from hf_prompt_models.data.few_shot import base_and_new_classes
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.published_datasets import EUROSAT_CLASS_NAMES, PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.prompts.templates import DATASET_TEMPLATES
from tests.pictures import write_pictures


def folders(*names: str) -> LabelledImages:
    """One image in each class folder."""
    return LabelledImages(
        "nowhere", list(names), list(range(len(names))), [f"{name}/1.jpg" for name in names], "".join
    )


def test_each_data_set_has_a_template_and_they_come_in_the_order_of_the_papers_tables() -> None:
    assert set(PUBLISHED_DATASETS) == set(DATASET_TEMPLATES)
    titles = [dataset.title for dataset in PUBLISHED_DATASETS.values()]
    assert titles[:6] == ["ImageNet", "Caltech101", "OxfordPets", "StanfordCars", "Flowers102", "Food101"]
    assert titles[6:] == ["FGVCAircraft", "SUN397", "DTD", "EuroSAT", "UCF101"]


@pytest.mark.parametrize(
    ("name", "base", "new"),
    [
        ("imagenet", 500, 500),
        ("caltech101", 50, 50),
        ("oxford_pets", 19, 18),
        ("stanford_cars", 98, 98),
        ("oxford_flowers", 51, 51),
        ("food101", 51, 50),
        ("fgvc_aircraft", 50, 50),
        ("sun397", 199, 198),
        ("dtd", 24, 23),
        ("eurosat", 5, 5),
        ("ucf101", 51, 50),
    ],
)
def test_base_classes_are_the_first_half_and_one_more_if_odd(name: str, base: int, new: int) -> None:
    first, rest = base_and_new_classes(PUBLISHED_DATASETS[name].num_classes)
    assert (len(first), len(rest)) == (base, new)
    assert first + rest == list(range(base + new))


@pytest.mark.parametrize(
    ("name", "folder", "class_name"),
    [
        ("imagenet", "great white shark", "great white shark"),
        ("caltech101", "Motorbikes", "motorbike"),
        ("caltech101", "wild_cat", "wild_cat"),
        ("oxford_pets", "British_Shorthair", "british_shorthair"),
        ("stanford_cars", "Ford F-150 Regular Cab 2012", "2012 Ford F-150 Regular Cab"),
        ("oxford_flowers", "pink primrose", "pink primrose"),
        ("food101", "apple_pie", "apple_pie"),
        ("fgvc_aircraft", "707-320", "707-320"),
        ("sun397", "b/bow_window/indoor", "indoor bow_window"),
        ("sun397", "/a/airplane_cabin", "airplane_cabin"),
        ("dtd", "polka-dotted", "polka-dotted"),
        ("eurosat", "SeaLake", "Sea or Lake"),
        ("ucf101", "ApplyEyeMakeup", "Apply_Eye_Makeup"),
        ("ucf101", "YoYo", "Yo_Yo"),
    ],
)
def test_class_names_follow_from_folders_and_are_their_own(name: str, folder: str, class_name: str) -> None:
    dataset = PUBLISHED_DATASETS[name]
    assert dataset.class_name(folder) == class_name
    assert dataset.class_name(class_name) == class_name


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("eurosat", "Desert", "EuroSAT has no class folder 'Desert'. Its class folders are AnnualCrop, "),
        ("imagenet", "n01440764", "'n01440764' is a WordNet id.*classnames.txt"),
        ("oxford_flowers", "12", "'12' is a number, not the name of a flower"),
    ],
)
def test_folders_that_cannot_be_of_the_data_set_are_refused(name: str, folder: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folders("Forest", folder).named_as(PUBLISHED_DATASETS[name])


def test_caltechs_unused_folders_are_left_out_with_their_images() -> None:
    images = folders("BACKGROUND_Google", "Faces", "Faces_easy", "accordion").named_as(
        PUBLISHED_DATASETS["caltech101"]
    )
    assert list(images.class_names) == ["face", "accordion"]
    assert list(images.labels) == [0, 1]
    assert list(images.names) == ["Faces/1.jpg", "accordion/1.jpg"]


@pytest.mark.parametrize(
    ("name", "names", "published"),
    [
        ("oxford_pets", ["Abyssinian", "Bengal", "american_bulldog"], ["abyssinian", "american_bulldog", "bengal"]),
        (
            "ucf101",
            ["HammerThrow", "Hammering", "JumpRope", "JumpingJack"],
            ["Hammering", "Hammer_Throw", "Jumping_Jack", "Jump_Rope"],
        ),
    ],
)
def test_labels_that_are_published_in_another_order_than_the_folders_come_in_that_order(
    name: str, names: list[str], published: list[str]
) -> None:
    images = folders(*names).named_as(PUBLISHED_DATASETS[name])
    assert list(images.class_names) == published
    assert {images.class_names[label]: image for label, image in zip(images.labels, images.names, strict=True)} == {
        PUBLISHED_DATASETS[name].class_name(folder): f"{folder}/1.jpg" for folder in names
    }
    again = images.named_as(PUBLISHED_DATASETS[name])
    assert (list(again.class_names), list(again.labels)) == (list(images.class_names), list(images.labels))


def test_scenes_are_named_by_the_folders_within_the_folders_of_letters(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"a/abbey": 2, "b/bow_window/indoor": 1, "b/bow_window/outdoor": 1})
    images = read_labelled_images(tmp_path, "train").named_as(PUBLISHED_DATASETS["sun397"])
    assert list(images.class_names) == ["abbey", "indoor bow_window", "outdoor bow_window"]
    assert list(images.labels) == [0, 0, 1, 2]


def test_a_plain_image_folder_becomes_eurosat(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", dict.fromkeys(EUROSAT_CLASS_NAMES, 1))
    images = read_labelled_images(tmp_path, "train").named_as(PUBLISHED_DATASETS["eurosat"])
    assert list(images.class_names) == list(EUROSAT_CLASS_NAMES.values())


def test_a_folder_is_recognised_by_its_files(tmp_path: Path) -> None:
    for dataset in PUBLISHED_DATASETS.values():
        directory = tmp_path / dataset.name
        for marker in dataset.markers:
            (directory / marker).parent.mkdir(parents=True, exist_ok=True)
            (directory / marker).write_text("{}")
        assert find_dataset(directory) is dataset
        assert find_dataset(f"{directory}:val") is dataset
        if len(dataset.markers) == 1:
            assert find_dataset(directory / dataset.markers[0]) is dataset
            assert find_dataset(f"{directory / dataset.markers[0]}:val") is dataset
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "split_zhou_Own.json").write_text("{}")
    for source in (tmp_path / "own", tmp_path / "own" / "split_zhou_Own.json", "user/pets:train", tmp_path / "none"):
        assert find_dataset(source) is None
