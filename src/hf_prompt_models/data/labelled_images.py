"""Labelled images from a folder of class folders, a list of images, or a `datasets` data set."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from hf_prompt_models.data.images import IMAGE_SUFFIXES, UnreadableImageError, load_image
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, PublishedDataset, find_dataset
from hf_prompt_models.data.split_files import read_class_names, read_listed_images


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledImages:
    """Images with class labels, decoded when asked for.

    Attributes:
        source: the folder or data set they come from.
        class_names: one name a class, in the order of the labels.
        labels: the class index of each image.
        names: what to call each image: its path within the folder, or its row.
        read: gives the file or the bytes of image `i`.
    """

    source: str
    class_names: Sequence[str]
    labels: Sequence[int]
    names: Sequence[str]
    read: Callable[[int], str | os.PathLike | bytes]

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, index: int, shrink: bool = False) -> Image.Image:
        """Decode image `index` to RGB.

        Raises:
            UnreadableImageError: naming it.
        """
        return load_image(self.read(index), f"{self.source}/{self.names[index]}", shrink)

    def digest(self, index: int) -> bytes:
        """SHA-256 of what the file of image `index` holds: 32 bytes."""
        source = self.read(index)
        return hashlib.sha256(source if isinstance(source, bytes) else Path(source).read_bytes()).digest()

    def select(self, indices: Sequence[int]) -> "LabelledImages":
        """The images at `indices`, in that order."""
        indices = list(indices)
        return LabelledImages(
            self.source,
            self.class_names,
            [self.labels[index] for index in indices],
            [self.names[index] for index in indices],
            partial(_read_selected, self.read, indices),
        )

    def with_classes(self, class_names: Sequence[str]) -> "LabelledImages":
        """The same images labelled by another list of classes, matched by name.

        Raises:
            ValueError: if a class of these images is not among `class_names`, or names repeat and the lists differ.
        """
        if list(class_names) == list(self.class_names):
            return self
        if len(set(class_names)) < len(class_names):
            raise ValueError(
                f"The classes of {self.source} cannot be matched by name: names repeat and the lists differ."
            )
        index = {name: place for place, name in enumerate(class_names)}
        if unknown := sorted(set(self.class_names) - set(index)):
            raise ValueError(
                f"{self.source} has {len(unknown)} class(es) that the model does not: {', '.join(unknown[:5])}"
                f"{' …' if len(unknown) > 5 else ''}. The model's classes are {', '.join(list(class_names)[:5])}"
                f"{' …' if len(class_names) > 5 else ''}."
            )
        labels = [index[self.class_names[label]] for label in self.labels]
        return LabelledImages(self.source, list(class_names), labels, self.names, self.read)

    def subset_of_classes(self, labels: Sequence[int]) -> "LabelledImages":
        """The images of these classes alone, relabelled from 0 in the order of `labels`.

        Raises:
            ValueError: if a label is not one of these images' classes, or comes twice.
        """
        place = {label: new for new, label in enumerate(labels)}
        if len(place) < len(labels) or not set(place) <= set(range(len(self.class_names))):
            raise ValueError(f"Name classes of 0 to {len(self.class_names) - 1}, each once; got {list(labels)[:10]}.")
        kept = self.select([index for index, label in enumerate(self.labels) if label in place])
        return replace(
            kept,
            class_names=[self.class_names[label] for label in labels],
            labels=[place[label] for label in kept.labels],
        )

    def named_as(self, dataset: PublishedDataset) -> "LabelledImages":
        """Images from class folders of a published data set with the class names that its results are for.

        Folders that are not used are left out. Classes come in the order of the folders. For StanfordCars, Flowers102,
        SUN397 and FGVCAircraft that need not be the published order, which decides what is a base and what a new
        class: there use the published lists.

        Raises:
            ValueError: if a folder cannot be of this data set.
        """
        images = self
        if dataset.letter_folders and all(len(name) == 1 for name in self.class_names):
            folders = [PurePosixPath(name).parent.as_posix() for name in self.names]
            classes = sorted(set(folders))
            place = {folder: label for label, folder in enumerate(classes)}
            images = replace(self, class_names=classes, labels=[place[folder] for folder in folders])
        kept = [label for label, folder in enumerate(images.class_names) if folder not in dataset.left_out]
        if dataset.sorted_without_case:
            kept.sort(key=lambda label: images.class_names[label].replace("_", "").lower())
        images = images.subset_of_classes(kept)
        return replace(images, class_names=[dataset.class_name(folder) for folder in images.class_names])

    def readable(self, on_unreadable: str, progress: bool = True) -> "LabelledImages":
        """Check that every image can be decoded, before any work depends on it.

        Args:
            on_unreadable: "refuse" raises at the first that cannot; "skip" names those that cannot in a warning and
                leaves them out.
            progress: whether to show a progress bar.
        """
        kept = []
        description = f"Checking images of {Path(self.source).name}"
        for index in tqdm(range(len(self)), desc=description, leave=False, disable=not progress):
            try:
                self.load(index, shrink=True)
                kept.append(index)
            except UnreadableImageError as error:
                refuse_or_warn(error, on_unreadable)
        return self if len(kept) == len(self) else self.select(kept)


def refuse_or_warn(error: UnreadableImageError, on_unreadable: str) -> None:
    """Raise the error, or, with "skip", say it and go on."""
    if on_unreadable != "skip":
        raise UnreadableImageError(
            f"{error}. Repair or remove it, or leave such images out with --on_unreadable skip."
        ) from error
    logger.warning(f"Skipped. {error}")


def read_image_folder(directory: str | os.PathLike) -> LabelledImages:
    """Images laid out as `directory/<class name>/…/image.jpg`, classes and files in the order of their names.

    Hidden files and files that are not images by their suffix are passed over.

    Raises:
        ValueError: if there are fewer than two classes, or a class has no image.
    """
    directory = Path(directory)
    folders = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"{directory} has {len(folders)} class folder(s), at least 2 are needed. Lay the images out as "
            f"{directory / '<class name>' / 'image.jpg'}."
        )
    labels: list[int] = []
    files: list[Path] = []
    for label, folder in enumerate(folders):
        found = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        )
        if not found:
            raise ValueError(
                f"The class folder {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}): fill or remove it."
            )
        labels += [label] * len(found)
        files += found
    names = [path.relative_to(directory).as_posix() for path in files]
    return LabelledImages(str(directory), [folder.name for folder in folders], labels, names, files.__getitem__)


def read_dataset(name_or_path: str, split: str) -> LabelledImages:
    """Images of a `datasets` data set, by Hub name or local path, with one `Image` and one `ClassLabel` column.

    Raises:
        ValueError: if the data set has no such split or not these columns.
    """
    import datasets  # slow to import, and not needed for folders

    if Path(name_or_path).is_dir() and {"dataset_dict.json", "state.json"} & set(os.listdir(name_or_path)):
        data: Any = datasets.load_from_disk(name_or_path)
    else:
        data = datasets.load_dataset(name_or_path)
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise ValueError(f"The data set {name_or_path!r} has no split {split!r}; it has {', '.join(data)}.")
        data = data[split]
    images = [name for name, feature in data.features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name, feature in data.features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"The data set {name_or_path!r} needs one image column and one class label column; its columns are "
            f"{dict(data.features)}."
        )
    class_names = data.features[labels[0]].names
    read = partial(_read_row, data.cast_column(images[0], datasets.Image(decode=False)), images[0])
    names = [f"{split}[{row}]" for row in range(len(data))]
    return LabelledImages(str(name_or_path), class_names, list(data[labels[0]]), names, read)


def _read_listed(source: Path, split: str) -> LabelledImages | None:
    """Images by a list that says their splits, where `source` has one."""
    if source.is_dir() and find_dataset(source) is PUBLISHED_DATASETS["imagenet"]:
        names = read_class_names(source / "classnames.txt")
        # The test set of all published results is the validation set: the real one's labels are secret.
        images = read_image_folder(source / "images" / ("val" if split == "test" else split))
        if unnamed := [folder for folder in images.class_names if folder not in names]:
            raise ValueError(
                f"{source / 'classnames.txt'} has no names for {len(unnamed)} class folder(s) of {images.source}: "
                f"{', '.join(unnamed[:5])}{' …' if len(unnamed) > 5 else ''}."
            )
        return replace(images, class_names=[names[folder] for folder in images.class_names])
    listed = read_listed_images(source, split)
    if listed is None:
        return None
    files = [listed.directory / name for name in listed.names]
    return LabelledImages(str(listed.directory), listed.class_names, listed.labels, listed.names, files.__getitem__)


def _read_selected(read: Callable[[int], Any], indices: Sequence[int], place: int) -> Any:
    """A function of its own, like `_read_row`: workers that are spawned get it pickled."""
    return read(indices[place])


def _read_row(data: Any, column: str, index: int) -> str | bytes:
    value = data[index][column]
    return value["bytes"] if value["bytes"] is not None else value["path"]


def read_labelled_images(source: str | os.PathLike, split: str) -> LabelledImages:
    """Images of a folder of class folders, of a list of images, or of a `datasets` data set.

    Args:
        source: `D` with `D/<class>/…` or `D/<split>/<class>/…`; or one of the eleven published data sets as CoOp lays
            them out, or any folder with a `split_zhou_*.json`, or such a file; or the path of a saved data set; or its
            name on the Hub. Each may say its split: `D:train`, `user/name:validation`.
        split: the split to read where `source` says none.
    """
    directory = Path(source)
    if (listed := _read_listed(directory, split)) is not None:
        return listed
    if directory.is_dir():
        if {"dataset_dict.json", "state.json"} & set(os.listdir(directory)):
            return read_dataset(str(source), split)
        inner = directory / split
        if inner.is_dir() and any(path.is_dir() for path in inner.iterdir()):
            directory = inner
        return read_image_folder(directory)
    name, _, named_split = str(source).rpartition(":")
    if name and (Path(name).is_dir() or Path(name).is_file()):
        return read_labelled_images(name, named_split)
    if directory.is_absolute() or str(source).startswith((".", "~")):
        raise ValueError(f"There is no folder {str(source)!r}.")
    name, _, named_split = str(source).partition(":")
    try:
        return read_dataset(name, named_split or split)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{str(source)!r} is neither a folder here nor a data set that can be loaded.") from error
