"""Images with captions."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.data.dataset_rows import load_named_split
from hf_prompt_models.data.images.stored import StoredImage, image_file, row_images
from hf_prompt_models.data.readable import report_unread
from hf_prompt_models.data.text.records import MAX_BYTES, Record, Records, text_field
from hf_prompt_models.data.videos.table import columns_of
from hf_prompt_models.utils.files import check_inside, check_listed, read_json, read_json_lines


FIELDS = ("image", "caption")


@dataclass(frozen=True)
class Caption(Record):
    """An image with one caption. Captions of the same image have the same ID.

    Attributes:
        caption: text of the caption.
    """

    caption: str


def read_captions(
    source: str | os.PathLike, split: str = "train", image_directory: str | os.PathLike | None = None
) -> Records[Caption]:
    """Read images with captions from a list or a 🤗 Datasets dataset, one record per caption.

    Args:
        source: one of

            - a JSONL file with one object per line: `image` (a path) and `caption`;
            - a JSON file: a list of such objects, or COCO's `captions_*.json`;
            - the name on the Hub or the path of a 🤗 Datasets dataset with columns `image` and `caption`. It may
              include the split: `D:validation`.
        split: the split to read if `source` does not include one.
        image_directory: folder that paths in a file are relative to. Default: the folder of the file.

    Raises:
        ValueError: if an item is not a captioned image. The message names the file and the line, entry or row.
    """
    path = Path(source)
    if path.is_file():
        directory = path.parent if image_directory is None else Path(image_directory)
        captions = list(_file_captions(path, directory))
    else:
        captions = list(_dataset_captions(str(source), split))
    if not captions:
        raise ValueError(f"{source} contains no captions. Add at least one.")
    return Records(str(source), captions)


def _file_captions(path: Path, directory: Path) -> Iterator[Caption]:
    if path.suffix.lower() != ".json":
        lines = read_json_lines(path, MAX_BYTES, "lists of captions")
        report_unread(columns_of((str(path), row) for _, row in lines), FIELDS, str(path))
        for number, row in lines:
            yield _listed_caption(row, directory, f"{path}, line {number}")
        return
    value = read_json(path, MAX_BYTES, "lists of captions")
    if isinstance(value, list):
        objects = [row for row in value if isinstance(row, dict)]
        report_unread(columns_of((str(path), row) for row in objects), FIELDS, str(path))
        for place, row in enumerate(value):
            yield _listed_caption(row, directory, f"{path}, entry {place}")
    elif isinstance(value, dict) and all(isinstance(value.get(part), list) for part in ("images", "annotations")):
        yield from _coco_captions(value, path, directory)
    else:
        raise ValueError(f"{path} is neither a list of captioned images nor a COCO caption file.")


def _listed_caption(row: Any, directory: Path, where: str) -> Caption:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with 'image' and 'caption', got {str(row)[:80]}.")
    name = text_field(row, "image", where)
    check_listed(name, where)
    image = image_file(directory / name)
    return Caption(image.name, (image,), text_field(row, "caption", where))


def _coco_captions(value: Mapping[str, Any], path: Path, directory: Path) -> Iterator[Caption]:
    """Yield captions of `{"images": [{"id", "file_name"}, …], "annotations": [{"image_id", "caption"}, …]}`."""
    images: dict[int, StoredImage] = {}
    for place, entry in enumerate(value["images"]):
        where = f"{path}, entry {place} of 'images'"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            raise ValueError(f"{where}: expected an object with 'id' and 'file_name', got {str(entry)[:80]}.")
        name = text_field(entry, "file_name", where)
        check_inside(name, where)
        images[entry["id"]] = image_file(directory / name)
    for place, entry in enumerate(value["annotations"]):
        where = f"{path}, entry {place} of 'annotations'"
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int):
            raise ValueError(f"{where}: expected an object with 'image_id' and 'caption', got {str(entry)[:80]}.")
        if entry["image_id"] not in images:
            raise ValueError(f"{where}: there is no image with the id {entry['image_id']}.")
        image = images[entry["image_id"]]
        yield Caption(image.name, (image,), text_field(entry, "caption", where))


def _dataset_captions(source: str, split: str) -> Iterator[Caption]:
    name, split, data = load_named_split(source, split)
    if not {"image", "caption"} <= set(data.features):
        raise ValueError(
            f"The dataset {name!r} needs the columns 'image' and 'caption'. Its columns are {list(data.features)}."
        )
    report_unread(list(data.features), FIELDS, f"the dataset {name!r}")
    images = row_images(data, "image", f"{name}:{split}")
    for index, (row, pictures) in enumerate(zip(data.select_columns(["caption"]), images, strict=True)):
        where = f"{name}:{split}[{index}]"
        if len(pictures) != 1:
            raise ValueError(f"{where}: expected one image per caption, got {len(pictures)}.")
        yield Caption(pictures[0].name, tuple(pictures), text_field(row, "caption", where))
