"""Image and label columns of datasets and lists, and the class labels in them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.labelled import as_class_name
from hf_prompt_models.data.listing import find_files, report_left_out
from hf_prompt_models.data.readable import report_unread
from hf_prompt_models.data.videos.table import columns_of, read_rows
from hf_prompt_models.utils.files import check_listed


METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.json")
"""Names of files that list the images in a folder, as for the `imagefolder` of 🤗 Datasets."""
FILE_COLUMNS = ("file_name", "image", "path", "file", "filename", "image_path")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
TABLE_SUFFIXES = frozenset({".csv", ".jsonl"})


def choose_column(given: str | None, candidates: Sequence[str], columns: Sequence[str], flag: str, what: str) -> str:
    """Return the column to read.

    Args:
        given: the column that the user chose, if any.
        candidates: columns to choose from if `given` is None.
        columns: all columns.
        flag: name of the command-line flag or argument that selects the column, without dashes.
        what: name of the dataset or list in error messages.

    Raises:
        ValueError: if there is no such column, or several. The message names the columns.
    """
    named = ", ".join(columns)
    if given is not None:
        if given not in columns:
            raise ValueError(f"{what} has no column {given!r} (--{flag}). Its columns are {named}.")
        return given
    if len(candidates) != 1:
        found = f"several columns of this kind: {', '.join(candidates)}" if candidates else "none"
        raise ValueError(
            f"{what} needs one {flag.replace('_', ' ')}, but it has {found}. Choose one of its columns "
            f"({named}) with --{flag}."
        )
    return candidates[0]


# -- `datasets` ------------------------------------------------------------------------------------------------------


def dataset_columns(
    data: Any, name: str, image_column: str | None = None, label_column: str | None = None
) -> tuple[str, str]:
    """Return the columns of a `datasets.Dataset` that hold the images and the labels.

    Args:
        data: the dataset.
        name: name of the dataset in error messages.
        image_column: the image column that the user chose, if any.
        label_column: the label column that the user chose, if any.

    Raises:
        ValueError: if one is missing or ambiguous, or of a type that has no class names.
    """
    import datasets  # slow to import, and not needed for folders

    what, columns = f"The dataset {name!r}", list(data.features)
    kinds = {
        kind: [column for column, feature in data.features.items() if isinstance(feature, kind)]
        for kind in (datasets.Image, datasets.ClassLabel)
    }
    texts = [column for column in columns if getattr(data.features[column], "dtype", None) == "string"]
    images = kinds[datasets.Image] or [column for column in texts if column in FILE_COLUMNS]
    labels = kinds[datasets.ClassLabel] or [column for column in columns if column in LABEL_COLUMNS]
    image = choose_column(image_column, images, columns, "image_column", what)
    label = choose_column(label_column, labels, columns, "label_column", what)
    if image not in kinds[datasets.Image] and image not in texts:
        raise ValueError(
            f"The column {image!r} of {name!r} contains no images, but {data.features[image]}. Choose another "
            "column with --image_column."
        )
    if label not in kinds[datasets.ClassLabel] and label not in texts:
        raise ValueError(
            f"The column {label!r} of {name!r} has no class names; its type is {data.features[label]}. Name "
            f"the classes with dataset.cast_column({label!r}, datasets.ClassLabel(names=[…])), or choose "
            "another column with --label_column."
        )
    report_unread(columns, [image, label], f"the dataset {name!r}")
    return image, label


def index_labels(values: Sequence[Any], class_names: Sequence[str] | None = None) -> tuple[list[str], list[Any]]:
    """Return the class names and the label of each row, which is None for a row without one.

    Args:
        values: class indices, or class names.
        class_names: class names, if `values` are class indices. Default: `values` are class names, and the classes
            are the sorted distinct names.
    """
    if class_names is not None:
        return list(class_names), list(values)
    names = [as_class_name(value) if isinstance(value, str) and value.strip() else None for value in values]
    classes = sorted({name for name in names if name is not None})
    place = {name: index for index, name in enumerate(classes)}
    return classes, [None if name is None else place[name] for name in names]


# -- lists of images -------------------------------------------------------------------------------------------------


def find_metadata(directory: Path) -> Path | None:
    """Return the file that lists the images in a folder, or None if there is none.

    Raises:
        ValueError: if there are several.
    """
    found = [directory / name for name in METADATA_FILES if (directory / name).is_file()]
    if len(found) > 1:
        raise ValueError(f"{directory} contains {' and '.join(path.name for path in found)}. Keep only one of them.")
    return found[0] if found else None


def read_table(
    path: Path, image_column: str | None = None, label_column: str | None = None
) -> tuple[list[str], list[Any], list[str]]:
    """Return the class names, the label of each row and the file of each row of a list of images.

    Args:
        path: a CSV, JSON or JSONL file with one row per image. Image files are relative to the folder of the list.
        image_column: column with the image files. Default: the first of `FILE_COLUMNS` that the list has.
        label_column: column with the class names. Default: the only column of `LABEL_COLUMNS` in the list, or its
            only other column.

    Raises:
        ValueError: if a row has no file (the message names it), or columns are missing or ambiguous.
    """
    rows = read_rows(path)
    columns = columns_of(rows)
    found = [column for column in FILE_COLUMNS if column in columns]
    image = choose_column(image_column, found[:1], columns, "image_column", str(path))
    others = [column for column in columns if column != image]
    named = [column for column in LABEL_COLUMNS if column in others]
    label = choose_column(label_column, named or others, columns, "label_column", str(path))
    report_unread(columns, [image, label], str(path))
    files = [_file_of(row, image, where) for where, row in rows]
    values = [row.get(label) for _, row in rows]
    for (where, _), value in zip(rows, values, strict=True):
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"{where}: the label {value!r} is not a class name. Write class names, or choose another of "
                f"the columns {', '.join(columns)} with --label_column."
            )
    class_names, labels = index_labels(values)
    listed = {os.path.normpath(path.parent / file) for file in files}
    unlisted = [file for file in find_files(path.parent, is_usual_image)[0] if os.path.normpath(file) not in listed]
    report_left_out(unlisted, path.parent, f"images that {path.name} does not list")
    return class_names, labels, files


def is_usual_image(path: Path) -> bool:
    """Return whether a file has the suffix of an image format."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _file_of(row: Mapping[str, Any], column: str, where: str) -> str:
    name = row.get(column)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{where}: expected a file name in the column {column!r}, got {str(name)[:80]!r}.")
    check_listed(name, where)
    return name
