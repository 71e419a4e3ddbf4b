"""The eleven datasets of CoOp's experiments: recognition of their folders, and their class names.

Source: CoOp's `DATASETS.md` and `datasets/*.py` (github.com/KaiyangZhou/CoOp).
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PublishedDataset:
    """A published dataset, with the class names and the order of classes that published results use.

    Attributes:
        name: name of the dataset in `prompts.templates.DATASET_TEMPLATES`.
        title: name of the dataset in the tables of the papers.
        markers: files or folders that together identify a folder as this dataset.
        image_folder: folder, within the dataset folder, that the paths in the split file are relative to.
        num_classes: number of classes.
        test_images: number of test images in the published split.
        class_name: function that returns the class name for a class folder, or for a class name itself. It raises a
            ValueError for a folder that cannot belong to this dataset.
        left_out: class folders that are not used.
        sorted_without_case: whether the published labels are in the order of the folder names without regard to case.
        letter_folders: whether the class folders are in folders of their first letter.
    """

    name: str
    title: str
    markers: tuple[str, ...]
    image_folder: str
    num_classes: int
    test_images: int
    class_name: Callable[[str], str] = str
    left_out: frozenset[str] = frozenset()
    sorted_without_case: bool = False
    letter_folders: bool = False


EUROSAT_CLASS_NAMES = {
    "AnnualCrop": "Annual Crop Land",
    "Forest": "Forest",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "River": "River",
    "SeaLake": "Sea or Lake",
}
"""CoOp's class names for EuroSAT, by folder."""

CALTECH101_CLASS_NAMES = {
    "airplanes": "airplane",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
}
"""CoOp's class names for Caltech101 by folder, where they differ from the folder names."""


def _imagenet_name(folder: str) -> str:
    if re.fullmatch(r"n\d{8}", folder):
        raise ValueError(
            f"The class folder {folder!r} is a WordNet id, not a name. Put classnames.txt next to "
            "images/train and images/val, and pass the folder that contains them."
        )
    return folder


def _caltech101_name(folder: str) -> str:
    return CALTECH101_CLASS_NAMES.get(folder, folder)


def _flower_name(folder: str) -> str:
    if folder.isdigit():
        raise ValueError(
            f"The class folder {folder!r} is a number, not the name of a flower. Rename the folders, or use "
            "split_zhou_OxfordFlowers.json, which contains the names."
        )
    return folder


def _car_name(folder: str) -> str:
    """Move the year to the front: "Acura TL Sedan 2012" becomes "2012 Acura TL Sedan"."""
    words = folder.split()
    if re.fullmatch(r"\d{4}", words[-1]) and not re.fullmatch(r"\d{4}", words[0]):
        words = [words[-1], *words[:-1]]
    return " ".join(words)


def _scene_name(folder: str) -> str:
    """Move the more specific word to the front: "b/bow_window/indoor" becomes "indoor bow_window"."""
    parts = folder.strip("/").split("/")
    if len(parts) > 1 and len(parts[0]) == 1:
        parts = parts[1:]
    return " ".join(reversed(parts))


def _eurosat_name(folder: str) -> str:
    if folder in EUROSAT_CLASS_NAMES.values():
        return folder
    if folder not in EUROSAT_CLASS_NAMES:
        raise ValueError(
            f"EuroSAT has no class folder {folder!r}. Its class folders are {', '.join(EUROSAT_CLASS_NAMES)}."
        )
    return EUROSAT_CLASS_NAMES[folder]


def _action_name(folder: str) -> str:
    """Separate the words with underscores: "ApplyEyeMakeup" becomes "Apply_Eye_Makeup"."""
    return re.sub(r"(?<=[^_])(?=[A-Z])", "_", folder)


PUBLISHED_DATASETS = {
    dataset.name: dataset
    for dataset in (
        PublishedDataset(
            "imagenet", "ImageNet", ("classnames.txt", "images/val"), "images", 1000, 50_000, _imagenet_name
        ),
        PublishedDataset(
            "caltech101",
            "Caltech101",
            ("split_zhou_Caltech101.json",),
            "101_ObjectCategories",
            100,
            2_465,
            _caltech101_name,
            left_out=frozenset({"BACKGROUND_Google", "Faces_easy"}),
        ),
        PublishedDataset(
            "oxford_pets",
            "OxfordPets",
            ("split_zhou_OxfordPets.json",),
            "images",
            37,
            3_669,
            str.lower,
            sorted_without_case=True,
        ),
        PublishedDataset(
            "stanford_cars", "StanfordCars", ("split_zhou_StanfordCars.json",), ".", 196, 8_041, _car_name
        ),
        PublishedDataset(
            "oxford_flowers", "Flowers102", ("split_zhou_OxfordFlowers.json",), "jpg", 102, 2_463, _flower_name
        ),
        PublishedDataset("food101", "Food101", ("split_zhou_Food101.json",), "images", 101, 30_300),
        PublishedDataset(
            "fgvc_aircraft", "FGVCAircraft", ("variants.txt", "images_variant_test.txt"), "images", 100, 3_333
        ),
        PublishedDataset(
            "sun397", "SUN397", ("split_zhou_SUN397.json",), "SUN397", 397, 19_850, _scene_name, letter_folders=True
        ),
        PublishedDataset("dtd", "DTD", ("split_zhou_DescribableTextures.json",), "images", 47, 1_692),
        PublishedDataset("eurosat", "EuroSAT", ("split_zhou_EuroSAT.json",), "2750", 10, 8_100, _eurosat_name),
        PublishedDataset(
            "ucf101",
            "UCF101",
            ("split_zhou_UCF101.json",),
            "UCF-101-midframes",
            101,
            3_783,
            _action_name,
            sorted_without_case=True,
        ),
    )
}
"""Published datasets by name, in the order of the tables of the papers."""


def find_dataset(source: str | os.PathLike) -> PublishedDataset | None:
    """Return the published dataset that a source for `read_labelled_images` is, judged by its files, or None.

    Args:
        source: a folder or a split file, optionally followed by `:<split>`.
    """
    path = Path(source)
    if not path.exists() and ":" in str(source):
        path = Path(str(source).rpartition(":")[0])
    found = [
        dataset
        for dataset in PUBLISHED_DATASETS.values()
        if (path.is_file() and dataset.markers == (path.name,))
        or (path.is_dir() and all((path / marker).exists() for marker in dataset.markers))
    ]
    return found[0] if len(found) == 1 else None
