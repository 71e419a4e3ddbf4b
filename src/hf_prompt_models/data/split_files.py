"""Lists of the images in each split: CoOp's split files and FGVCAircraft's lists.

A split file is JSON: `{"train": [[image path, label, class name], …], "val": …, "test": …}`.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.data.splits import find_split, split_of
from hf_prompt_models.utils.files import check_inside, read_json, read_text


MAX_BYTES = 64 * 2**20
"""Largest size in bytes of a list that is read. The largest published one, of Food101, has about 6 MB."""


class ListedImages(NamedTuple):
    """Images of one split.

    Attributes:
        directory: folder that `names` are relative to.
        names: path of each image.
        labels: class index of each image.
        class_names: one name per class, in the order of the labels. Names may repeat.
    """

    directory: Path
    names: list[str]
    labels: list[int]
    class_names: list[str]


def read_listed_images(source: Path, split: str) -> ListedImages | None:
    """Read the images of one split from a list of a published dataset; return None for other sources.

    Args:
        source: a split file, a folder with a `split_zhou_*.json`, or the folder of FGVCAircraft.
        split: the split, in any common spelling.

    Raises:
        ValueError: if the list is damaged, has paths outside its folder, or names images that do not exist.
    """
    if source.is_file() and source.suffix == ".json":
        return _read_split_file(source, split)
    if not source.is_dir():
        return None
    files = sorted(source.glob("split_zhou_*.json"))
    if len(files) > 1:
        raise ValueError(
            f"{source} contains {len(files)} split files ({', '.join(file.name for file in files[:5])}). "
            f"Pass one of them, such as {files[0]}:{split}."
        )
    if files:
        return _read_split_file(files[0], split)
    if find_dataset(source) is PUBLISHED_DATASETS["fgvc_aircraft"]:
        return _read_aircraft_lists(source, split)
    return None


def read_class_names(path: str | os.PathLike) -> dict[str, str]:
    """Read class names by folder, from lines such as `n01440764 tench`.

    Raises:
        ValueError: if a line does not have this form, or repeats a folder. The message names the line.
    """
    names: dict[str, str] = {}
    for number, line in _lines(Path(path)):
        folder, _, name = line.partition(" ")
        if not name.strip() or folder in names:
            raise ValueError(f"{path}, line {number}: expected a new folder and its class name, got {line[:80]!r}.")
        names[folder] = name.strip()
    return names


def _read_split_file(path: Path, split: str) -> ListedImages:
    splits = read_json(path, MAX_BYTES, "lists of images")
    if not isinstance(splits, dict) or not all(isinstance(entries, list) for entries in splits.values()):
        raise ValueError(f'{path} is not a split file: expected {{"train": […], "val": […], "test": […]}}.')
    split = find_split(splits, split, path)
    if not splits[split]:
        raise ValueError(f"{path} has no images for {split!r}. It has {', '.join(map(repr, splits)) or 'nothing'}.")

    names: dict[int, str] = {}
    for part, entries in splits.items():
        for place, entry in enumerate(entries):
            where = f"{path}, entry {place} of {part!r}"
            _, label, name = _entry(entry, where)
            if names.setdefault(label, name) != name:
                raise ValueError(
                    f"{where}: label {label} has the name {name!r} here, but {names[label]!r} before. Give each "
                    "label one name."
                )
    if len(names) < 2 or sorted(names) != list(range(len(names))):
        raise ValueError(
            f"{path}: expected at least two labels 0, 1, 2, … without gaps, got "
            f"{str(sorted(names)[:10])[1:-1]}{(' …' if len(names) > 10 else '')}."
        )
    images = [str(PurePosixPath(image)) for image, _, _ in splits[split]]
    labels = [label for _, label, _ in splits[split]]
    class_names = [names[label] for label in range(len(names))]
    return _listed(path, _image_folder(path, images[0]), images, labels, class_names)


def _entry(entry: Any, where: str) -> tuple[str, int, str]:
    """Return the image path, label and class name of a valid entry of a split file."""
    if (
        not isinstance(entry, list)
        or [type(value) for value in entry] != [str, int, str]  # `type`, because a bool is an int
        or not entry[2].strip()
    ):
        raise ValueError(f"{where}: expected [image path, label, class name], got {str(entry)[:80]}.")
    check_inside(entry[0], where)
    return entry[0], entry[1], entry[2]


def _image_folder(path: Path, image: str) -> Path:
    """Return the folder that paths in a split file are relative to.

    For the published split files this is the published folder, for others the folder that has the first image.
    """
    if (dataset := find_dataset(path)) is not None:
        return path.parent / dataset.image_folder
    if (path.parent / image).is_file():
        return path.parent
    found = [folder for folder in sorted(path.parent.iterdir()) if (folder / image).is_file()]
    if len(found) > 1:
        raise ValueError(
            f"{path}: {image!r} is in several folders next to the file "
            f"({', '.join(folder.name for folder in found[:5])}). Start the paths with the name of the folder."
        )
    return found[0] if found else path.parent


def _read_aircraft_lists(directory: Path, split: str) -> ListedImages:
    """Read FGVCAircraft's lists: lines such as `1025794 707-320`, with classes in the order of `variants.txt`."""
    path = directory / f"images_variant_{split_of(split) or split}.txt"
    if not path.is_file():
        raise ValueError(f"There is no {path} with the images for {split!r}. Add the file, or choose another split.")
    class_names = [line for _, line in _lines(directory / "variants.txt")]
    index = {name: label for label, name in enumerate(class_names)}
    if len(index) < len(class_names):
        raise ValueError(f"{directory / 'variants.txt'} lists a variant twice. Remove the repetition.")
    images, labels = [], []
    for number, line in _lines(path):
        image, _, name = line.partition(" ")
        if name not in index:
            raise ValueError(f"{path}, line {number}: {name[:80]!r} is not a variant in variants.txt.")
        check_inside(image, f"{path}, line {number}")
        images.append(f"{image}.jpg")
        labels.append(index[name])
    if not images:
        raise ValueError(f"{path} lists no images. Add at least one.")
    return _listed(path, directory / PUBLISHED_DATASETS["fgvc_aircraft"].image_folder, images, labels, class_names)


def _listed(
    path: Path, folder: Path, images: Sequence[str], labels: list[int], class_names: list[str]
) -> ListedImages:
    if missing := [image for image in images if not (folder / image).is_file()]:
        raise ValueError(
            f"{len(missing)} of {len(images)} images that {path} lists are not in {folder}: "
            f"{str(missing[:5])[1:-1]}{(' …' if len(missing) > 5 else '')}. Add these files to the folder."
        )
    within = folder.relative_to(path.parent)
    return ListedImages(path.parent, [(within / image).as_posix() for image in images], labels, class_names)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the non-empty lines of a file with their line numbers."""
    text = read_text(path, MAX_BYTES, "lists of images")
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
