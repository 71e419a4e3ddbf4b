"""Labelled images from class folders, lists of images, or 🤗 Datasets datasets."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from PIL import Image

from hf_prompt_models.data.dataset_rows import is_saved_dataset, load_split, stored_image
from hf_prompt_models.data.held_out import read_part
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, UnreadableImageError, is_image_file, load_image
from hf_prompt_models.data.labelled import LabelledFiles, check_class_folders
from hf_prompt_models.data.labelled_rows import (
    TABLE_SUFFIXES,
    dataset_columns,
    find_metadata,
    index_labels,
    read_table,
)
from hf_prompt_models.data.listing import find_files, folders_in, is_hidden, logger, report_left_out
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, PublishedDataset, find_dataset
from hf_prompt_models.data.split_files import read_class_names, read_listed_images
from hf_prompt_models.data.splits import named_folder, named_split, split_folder, split_of
from hf_prompt_models.utils.files import UnreadableFileError


REMEMBERED = 2**18
"""Number of files whose check and digest are remembered within a process, until they change."""


def _version(status: os.stat_result) -> tuple[int, ...]:
    """Return values that change when a file is replaced or written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=REMEMBERED)
def _check_file(path: str, name: str, version: tuple[int, ...]) -> None:
    load_image(path, name, shrink=True)


@lru_cache(maxsize=REMEMBERED)
def _digest_file(path: str, version: tuple[int, ...]) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


@dataclass(frozen=True)
class LabelledImages(LabelledFiles):
    """Images with class labels, decoded on access. `read_labelled_images` creates them.

    Example:
        ```python
        >>> from hf_prompt_models.data import read_labelled_images
        >>> from hf_prompt_models.playground import write_image_folder
        >>> write_image_folder("shapes", seed=0, train_per_class=2, test_per_class=1)
        >>> images = read_labelled_images("shapes:train")
        >>> images.class_names[:2], images.labels[:4], images.load(0).size
        (['boat', 'bottle'], [0, 0, 1, 1], (80, 80))

        ```
    """

    read: Callable[[int], str | os.PathLike | bytes]

    kind: ClassVar[str] = "image"

    def load(self, index: int, shrink: bool = False, least_side: int | None = None) -> Image.Image:
        """Decode image `index` to RGB.

        Args:
            index: index of the image.
            shrink: whether to decode a JPEG at an eighth of its size, which is enough to check that it is readable.
            least_side: smallest side of a JPEG that is decoded at a reduced size, as for `load_image`.

        Raises:
            UnreadableImageError: if the image cannot be decoded. The message names it.
        """
        try:
            source = self.read(index)
        except UnreadableFileError as error:  # the row has no image
            raise UnreadableImageError(f"Cannot read the image {self.path(index)}: {error}") from error
        return load_image(source, self.path(index), shrink, least_side=least_side)

    def check(self, index: int) -> None:
        """Check that image `index` has a valid label and can be decoded.

        Raises:
            UnreadableFileError: if it has no valid label, or, as `UnreadableImageError`, cannot be decoded. The
                message names the image.
        """
        self.check_label(index)
        try:
            source = self.read(index)
            status = None if isinstance(source, bytes) else os.stat(source)
        except (UnreadableFileError, OSError):  # which `load` reports
            source, status = b"", None
        if isinstance(source, bytes) or status is None:
            self.load(index, shrink=True)
        else:
            _check_file(os.fspath(source), self.path(index), _version(status))

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 digest (32 bytes) of the file of image `index`."""
        source = self.read(index)
        if isinstance(source, bytes):
            return hashlib.sha256(source).digest()
        return _digest_file(os.fspath(source), _version(os.stat(source)))

    def named_as(self, dataset: PublishedDataset) -> "LabelledImages":
        """Return the images with the class names that published results use.

        Folders that the published dataset does not use are left out. Classes are in the order of the folders. For
        StanfordCars, Flowers102, SUN397 and FGVCAircraft, this order may differ from the published one, which
        determines the base and new classes. Use the published lists for these datasets.

        Args:
            dataset: the published dataset that the class folders belong to.

        Raises:
            ValueError: if a folder cannot belong to this dataset.
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


def read_image_folder(directory: str | os.PathLike) -> LabelledImages:
    """Read images laid out as `directory/<class name>/…/image.jpg`, with classes and files sorted by name.

    A file is an image if its suffix or its content is that of an image format. Hidden files are ignored; the number
    of other files is logged.

    Raises:
        ValueError: if there are fewer than two classes, or a class has no image.
    """
    directory = Path(directory)
    folders = folders_in(directory)
    if len(folders) < 2:
        raise ValueError(
            f"{directory} has {len(folders)} class folder(s), but at least 2 are needed. Arrange the images "
            f"as {directory / '<class name>' / 'image.jpg'}."
        )
    check_class_folders(folders)
    labels: list[int] = []
    files: list[Path] = []
    # An image next to the class folders has no class, which is reported. Lists and notes are expected there.
    left_out = [path for path in sorted(directory.iterdir()) if path.is_file() and is_unlabelled_image(path)]
    for label, folder in enumerate(folders):
        found, others = find_files(folder, is_image_file)
        if not found:
            raise ValueError(f"The class folder {folder} contains no images. Add images to it, or remove it.")
        labels += [label] * len(found)
        files += found
        left_out += others
    report_left_out(left_out, directory, "not images in a class folder")
    names = [path.relative_to(directory).as_posix() for path in files]
    return LabelledImages(str(directory), [folder.name for folder in folders], labels, names, files.__getitem__)


def is_unlabelled_image(path: Path) -> bool:
    """Return whether a file next to class folders is an image, judged by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name)


def read_dataset(
    source: Any, split: str = "train", image_column: str | None = None, label_column: str | None = None
) -> LabelledImages:
    """Read labelled images from a 🤗 Datasets dataset.

    Args:
        source: a `Dataset` or `DatasetDict`, or the Hub name or local path of one.
        split: the split to read, if the dataset has several.
        image_column: column with the images. Default: the only image column.
        label_column: column with the labels, a `ClassLabel` or class names. Default: the only label column.

    Raises:
        ValueError: if the dataset has no such split or no rows, or columns are missing or ambiguous.
        TypeError: if the dataset is streamed, because rows cannot be selected from a stream.
    """
    import datasets  # slow to import, and not needed for folders

    name = str(source) if isinstance(source, str | os.PathLike) else "in memory"
    data = load_split(source, split).with_format(None)  # read the stored rows without any transform of the dataset
    if not len(data):
        raise ValueError(f"The dataset {name!r} has no rows in its split {split!r}. Choose another split.")
    image, label = dataset_columns(data, name, image_column, label_column)
    feature = data.features[label]
    is_indexed = isinstance(feature, datasets.ClassLabel)
    class_names, labels = index_labels(list(data[label]), feature.names if is_indexed else None)
    if len(class_names) < 2:
        raise ValueError(
            f"The column {label!r} of {name!r} has {len(class_names)} class(es), but at least 2 are needed."
        )
    read = partial(_read_row, data.cast_column(image, datasets.Image(decode=False)), image)
    return LabelledImages(name, class_names, labels, [f"{split}[{row}]" for row in range(len(data))], read)


def read_image_table(path: Path, image_column: str | None, label_column: str | None) -> LabelledImages:
    """Read labelled images from a CSV, JSON or JSONL file with one row per image.

    Args:
        path: the file, as for `labelled_rows.read_table`.
        image_column: column with the image files. Default: see `labelled_rows.read_table`.
        label_column: column with the class names. Default: see `labelled_rows.read_table`.

    Raises:
        ValueError: if columns are missing or ambiguous, or there are fewer than two classes.
    """
    class_names, labels, names = read_table(path, image_column, label_column)
    if len(class_names) < 2:
        raise ValueError(f"{path} has {len(class_names)} class(es), but at least 2 are needed.")
    files = [path.parent / name for name in names]
    return LabelledImages(str(path.parent), class_names, labels, names, files.__getitem__)


def _read_listed(source: Path, split: str) -> LabelledImages | None:
    """Read the images of a source whose own list defines the splits; return None for other sources."""
    if source.is_dir() and find_dataset(source) is PUBLISHED_DATASETS["imagenet"]:
        names = read_class_names(source / "classnames.txt")
        # All published results use the validation set for testing, because the labels of the test set are not public.
        kind = split_of(split) or split
        images = read_image_folder(source / "images" / ("val" if kind == "test" else kind))
        if unnamed := [folder for folder in images.class_names if folder not in names]:
            raise ValueError(
                f"{source / 'classnames.txt'} has no names for {len(unnamed)} class folder(s) of {images.source}: "
                f"{', '.join(unnamed[:5])}{(' …' if len(unnamed) > 5 else '')}. Add a line for each."
            )
        return replace(images, class_names=[names[folder] for folder in images.class_names])
    listed = read_listed_images(source, split)
    if listed is None:
        return None
    files = [listed.directory / name for name in listed.names]
    return LabelledImages(str(listed.directory), listed.class_names, listed.labels, listed.names, files.__getitem__)


def _has_own_splits(source: Path) -> bool:
    """Return whether a source defines its splits itself, instead of being a folder of class folders."""
    return (
        source.is_file()
        or is_saved_dataset(source)
        or bool(sorted(source.glob("split_zhou_*.json")))
        or find_dataset(source) is not None
    )


def _read_row(data: Any, column: str, index: int) -> str | bytes:
    """Return the stored image of a row. It is a module-level function so that spawned workers can unpickle it."""
    return stored_image(data[index][column])


def read_labelled_images(
    source: Any, split: str = "train", image_column: str | None = None, label_column: str | None = None
) -> LabelledImages:
    """Read images with class labels from a folder, a list or a 🤗 Datasets dataset.

    Args:
        source: one of

            - a folder `D` with `D/<class>/…` or `D/<split>/<class>/…`, with any common spelling of the splits;
            - a folder with a `metadata.csv` or `metadata.jsonl`, as for the `imagefolder` of 🤗 Datasets, or such a
              file;
            - one of the eleven published datasets in CoOp's layout, any folder with a `split_zhou_*.json`, or such a
              file;
            - a `Dataset` or `DatasetDict`, the path of a saved one, or its name on the Hub;
            - the `split.json` of a run with `--test_fraction`.

            A path or name may include the split: `D:train`, `user/name:validation`.
        split: the split to read if `source` does not include one.
        image_column: column of the dataset or list with the images. Default: the only image column.
        label_column: column of the dataset or list with the labels. Default: the only label column.

    Raises:
        ValueError: if the source is none of these, or has no such split or columns.

    Example:
        ```python
        >>> from datasets import ClassLabel, Dataset, Features, Image
        >>> from PIL.Image import new
        >>> from hf_prompt_models.data import read_labelled_images
        >>> features = Features({"image": Image(), "fine_label": ClassLabel(names=["key", "cup"])})
        >>> rows = {"image": [new("RGB", (64, 48))] * 2, "fine_label": [0, 1]}
        >>> images = read_labelled_images(Dataset.from_dict(rows, features), label_column="fine_label")
        >>> images.class_names, images.labels
        (['key', 'cup'], [0, 1])

        ```
    """
    if not isinstance(source, str | os.PathLike):
        return read_dataset(source, split, image_column, label_column)
    directory, folder = Path(source), None
    if not directory.exists() and (named := named_split(source)) is not None:
        directory, split = named
        folder = None if _has_own_splits(directory) else named_folder(directory, split)
    elif directory.is_file() and directory.suffix.lower() in TABLE_SUFFIXES:
        return read_image_table(directory, image_column, label_column)
    reading = partial(read_labelled_images, image_column=image_column, label_column=label_column)
    if (part := read_part(directory, split, reading)) is not None:
        return part
    if folder is None and (listed := _read_listed(directory, split)) is not None:
        _refuse_columns(source, image_column, label_column)
        return listed
    if directory.is_dir():
        if folder is None and is_saved_dataset(directory):
            return read_dataset(str(directory), split, image_column, label_column)
        folder = folder or split_folder(directory, split, _holds_classes)
        table = find_metadata(folder)
        if table is not None and (label_column is not None or len(folders_in(folder)) < 2):
            return read_image_table(table, image_column, label_column)
        _refuse_columns(source, image_column, label_column)
        if table is not None:
            logger.warning(
                f"The folders of {folder} are used as classes. {table.name} is not read; pass --label_column to "
                "read it."
            )
        return read_image_folder(folder)
    if directory.is_absolute() or str(source).startswith((".", "~")):
        raise ValueError(f"There is no folder {str(source)!r}. Check the path.")
    name, _, given_split = str(source).partition(":")
    try:
        return read_dataset(name, given_split or split, image_column, label_column)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{str(source)!r} is neither a local folder nor a dataset that can be loaded.") from error


def _holds_classes(folder: Path) -> bool:
    return bool(folders_in(folder)) or find_metadata(folder) is not None


def _refuse_columns(source: str | os.PathLike, image_column: str | None, label_column: str | None) -> None:
    for flag, value in (("image_column", image_column), ("label_column", label_column)):
        if value is not None:
            raise ValueError(
                f"--{flag} applies to datasets and lists with columns, but {source} has no columns. Remove the flag."
            )
