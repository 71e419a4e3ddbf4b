"""Referring expressions: phrases that refer to one image region each, as in RefCOCO, RefCOCO+ and RefCOCOg."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from hf_prompt_models.data.dataset_rows import is_saved_dataset, load_split, stored_image
from hf_prompt_models.data.grounding.region_proposals import (
    RegionProposals,
    check_box,
    coco_image_id,
    read_proposals,
)
from hf_prompt_models.data.images.loading import image_size, load_image
from hf_prompt_models.data.listing import folders_in
from hf_prompt_models.data.splits import find_split
from hf_prompt_models.utils.boxes import Box, check_box_format, check_inside_image
from hf_prompt_models.utils.files import check_inside, read_json, write_json


MAX_BYTES = 2**30
"""Largest size in bytes of an annotation file. MDETR's file for the training split of RefCOCO has about 100 MB."""
ANNOTATIONS_FILE, PROPOSALS_FILE = "annotations.json", "proposals.json"
"""Names of the files with annotations and region proposals in a folder of images."""
DEFAULT_SEEDS = (0, 1, 2, 3, 4)
"""Seeds of CPT's few-shot samples."""


@dataclass(frozen=True)
class ReferringExpressions:
    """Phrases with the box that each refers to and the region proposals of its image. Images are decoded on access.

    Attributes:
        source: file or dataset that the phrases come from.
        names: unique ID of each phrase.
        texts: phrases.
        boxes: target box of each phrase: (x1, y1, x2, y2) in pixels, both corners included.
        pictures: name of the image of each phrase.
        read: function that returns the path or the bytes of the image for the phrase at an index.
        proposals: region proposals of the image of each phrase. Empty before `with_proposals` is called.
        box_format: box format of the source, for error messages.

    Example:
        ```python
        >>> from hf_prompt_models.data import read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> write_scene_folder("scenes", seed=0, train=3, test=1)
        >>> expressions = read_referring_expressions("scenes", split="train")
        >>> expressions.texts[0], expressions.boxes[0], len(expressions.proposals[0])
        ('the triangle', (1.0, 33.0, 13.0, 45.0), 4)
        >>> len(expressions.select([0, 2]))
        2

        ```
    """

    source: str
    names: Sequence[str]
    texts: Sequence[str]
    boxes: Sequence[Box]
    pictures: Sequence[str]
    read: Callable[[int], str | os.PathLike | bytes]
    proposals: Sequence[RegionProposals] = ()
    box_format: str = "xywh"

    kind: ClassVar[str] = "expression"

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int, shrink: bool = False) -> Image.Image:
        """Decode the image of phrase `index` to RGB.

        Args:
            index: index of the phrase.
            shrink: whether to decode a JPEG at an eighth of its size, which is enough to check that it is readable.

        Raises:
            UnreadableImageError: if the image cannot be decoded. The message names it.
        """
        return load_image(self.read(index), self.path(index), shrink)

    def check(self, index: int) -> None:
        """Check that the image of phrase `index` can be decoded.

        Raises:
            UnreadableImageError: if it cannot be decoded. The message names it.
        """
        self.load(index, shrink=True)

    def check_boxes(self) -> None:
        """Check that all boxes are inside their images, whose sizes are read from the file headers.

        Raises:
            UnreadableImageError: if the header of an image cannot be read. The message names the image.
            ValueError: if a box is not inside its image. The message names the source, the image, and the phrase or
                region.
        """
        sizes: dict[str, tuple[int, int]] = {}
        checked: set[int] = set()
        for index, picture in enumerate(self.pictures):
            if picture not in sizes:
                sizes[picture] = image_size(self.read(index), self.path(index))
            self.check_boxes_of(index, sizes[picture], regions=id(self._regions(index)) not in checked)
            checked.add(id(self._regions(index)))

    def check_boxes_of(self, index: int, size: tuple[int, int], regions: bool = True) -> None:
        """Check that the boxes of phrase `index` are inside its image.

        Args:
            index: index of the phrase.
            size: width and height of its image.
            regions: whether to check the region proposals too.

        Raises:
            ValueError: as for `check_boxes`.
        """
        boxes = {f"phrase {self.names[index]!r}": self.boxes[index]}
        if regions and self.proposals:
            boxes |= {f"region {place}": box for place, box in enumerate(self.proposals[index].boxes)}
        for what, (x1, y1, x2, y2) in boxes.items():
            try:
                check_inside_image((x1, y1, x2 + 1, y2 + 1), size, self.box_format)
            except ValueError as error:
                raise ValueError(f"{self.path(index)}, {what}: {error}") from error

    def _regions(self, index: int) -> RegionProposals | None:
        return self.proposals[index] if self.proposals else None

    def path(self, index: int) -> str:
        """Return the name of the image of phrase `index` in error messages."""
        return f"{self.pictures[index]} of {self.source}"

    def select(self, indices: Sequence[int]) -> Self:
        """Return the phrases at `indices`, in that order."""
        indices = list(indices)
        return replace(
            self,
            names=[self.names[index] for index in indices],
            texts=[self.texts[index] for index in indices],
            boxes=[self.boxes[index] for index in indices],
            pictures=[self.pictures[index] for index in indices],
            read=partial(_read_selected, self.read, indices),
            proposals=[self.proposals[index] for index in indices] if self.proposals else (),
        )

    def with_proposals(self, proposals: Mapping[str, RegionProposals], source: str) -> Self:
        """Return the same phrases with the region proposals of their images.

        Args:
            proposals: region proposals by image name, by the last part of its path, with or without suffix, or by COCO
                image ID.
            source: name of the proposals in error messages.

        Raises:
            ValueError: if images have no region proposal. The message names them.
        """
        found: list[RegionProposals] = []
        missing = []
        for picture in self.pictures:
            keys = [picture, Path(picture).name, Path(picture).stem, *coco_image_id(picture)]
            regions = next((proposals[key] for key in keys if key in proposals), RegionProposals([]))
            if not regions:
                missing.append(picture)
            found.append(regions)
        if missing:
            listed = ", ".join(dict.fromkeys(missing[:5]))
            raise ValueError(
                f"{source} has no regions for {len(set(missing))} image(s) of {self.source}: {listed}. Add the "
                "regions of these images."
            )
        return replace(self, proposals=found)


def _read_selected(read: Callable[[int], Any], indices: Sequence[int], index: int) -> Any:
    return read(indices[index])


# -- reading ---------------------------------------------------------------------------------------------------------


def read_referring_expressions(
    source: str | os.PathLike,
    split: str,
    images: str | os.PathLike | None = None,
    proposals: str | os.PathLike | None = None,
    box_format: str = "xywh",
) -> ReferringExpressions:
    """Read referring expressions and the region proposals of their images.

    Args:
        source: one of

            - a JSON file (`read_annotations`);
            - a folder with `annotations.json`, the images and, unless `proposals` is given, `proposals.json`; or a
              folder with such a folder for each split;
            - a saved 🤗 Datasets dataset or the name of one (`read_expression_dataset`). It may include the split:
              `D:val`.
        split: the split to read if `source` does not include one.
        images: folder of the images that a JSON file refers to. Default: the folder of the file.
        proposals: JSON file of region proposals (`region_proposals.read_proposals`).
        box_format: format of the boxes: "xywh", [x, y, width, height], or "xyxy", [x1, y1, x2, y2], in pixels.

    Raises:
        ValueError: if the source is none of these or invalid, or there are no region proposals.

    Example:
        ```python
        >>> from hf_prompt_models.data import read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> write_scene_folder("scenes", seed=0, train=3, test=1)
        >>> len(read_referring_expressions("scenes", split="train"))
        3

        ```
    """
    check_box_format(box_format)
    path = Path(source)
    if path.is_dir() and not (path / ANNOTATIONS_FILE).is_file() and not is_saved_dataset(path):
        splits = [folder.name for folder in folders_in(path) if (folder / ANNOTATIONS_FILE).is_file()]
        path = path / find_split(splits, split, path) if splits else path
    if path.is_file():
        expressions = read_annotations(path, images, box_format)
    elif (path / ANNOTATIONS_FILE).is_file():
        expressions = read_annotations(path / ANNOTATIONS_FILE, images, box_format)
        if proposals is None and (path / PROPOSALS_FILE).is_file():
            proposals = path / PROPOSALS_FILE
    else:
        expressions = read_expression_dataset(str(source), split, box_format)
    expressions = replace(expressions, box_format=box_format)
    if proposals is None:
        raise ValueError(
            f"{source} has the boxes of the phrases, but no region proposals to choose from. Pass a JSON file "
            "of proposals: {image: [{'box': [x, y, width, height]}, …]}."
        )
    return expressions.with_proposals(read_proposals(proposals, box_format), str(proposals))


def read_annotations(
    path: str | os.PathLike, images: str | os.PathLike | None = None, box_format: str = "xywh"
) -> ReferringExpressions:
    """Read referring expressions from a JSON file.

    Args:
        path: a JSON file in one of these formats:

            - a list of objects with `file_name`, `caption`, `bbox` [x, y, width, height] and, optionally, `id`, as in
              CPT's `finetune_<data set>_<split>.json`;
            - MDETR's variant of the COCO format, whose `images` have `id`, `file_name` and `caption`, and whose
              `annotations` have `image_id` and `bbox`, one for each image.
        images: folder of the images. Default: the folder of the file.
        box_format: "xywh", or "xyxy" if boxes are [x1, y1, x2, y2].

    Raises:
        ValueError: if the file has neither format. The message names the file and the item.
    """
    path = Path(path)
    content = read_json(path, MAX_BYTES, "lists of expressions")
    if isinstance(content, dict):
        content = _joined(path, content)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is not a list of phrases. Expected objects with file_name, caption and bbox.")
    names, texts, boxes, pictures = [], [], [], []
    for index, entry in enumerate(content):
        match entry:
            case {"file_name": str(picture), "caption": str(text), "bbox": box} if picture and text.strip():
                check_inside(picture, f"{path}, item {index}")
                pictures.append(picture)
                texts.append(text)
            case _:
                raise ValueError(f"{path}, item {index}: expected file_name, caption and bbox, got {str(entry)[:80]}.")
        try:
            boxes.append(check_box(box, box_format))
        except ValueError as error:
            raise ValueError(f"{path}, item {index}: {error}") from error
        names.append(str(entry.get("id", index)))
    _check_names(path, names)
    folder = path.parent if images is None else Path(images)
    return ReferringExpressions(str(path), names, texts, boxes, pictures, partial(_file, folder, pictures))


def _joined(path: Path, content: dict[str, Any]) -> list[Any]:
    images, annotations = content.get("images"), content.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise ValueError(f"{path} is neither a list of phrases nor a COCO file with images and annotations.")
    boxes: dict[Any, Any] = {}
    for annotation in annotations:
        match annotation:
            case {"image_id": int() | str() as image, "bbox": box} if image not in boxes:
                boxes[image] = box
            case _:
                raise ValueError(
                    f"{path}: expected one annotation with image_id and bbox for each image, got "
                    f"{str(annotation)[:80]}."
                )
    joined = []
    for image in images:
        known = isinstance(image, dict) and isinstance(image.get("id"), int | str)
        joined.append({**image, "bbox": boxes.get(image["id"])} if known else image)
    return joined


def _check_names(source: Any, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{source} has two phrases with the id {name!r}. Give each phrase its own id.")
        seen.add(name)


def _file(folder: Path, pictures: Sequence[str], index: int) -> Path:
    """Return the path of an image. It is a module-level function so that spawned workers can unpickle it."""
    return folder / pictures[index]


def read_expression_dataset(name_or_path: Any, split: str, box_format: str = "xywh") -> ReferringExpressions:
    """Read referring expressions from a 🤗 Datasets dataset.

    The dataset needs one `Image` column; `bbox`, [x, y, width, height]; and the phrase or a list of phrases as
    `caption`, `sentences` or, in lmms-lab/RefCOCO and similar datasets, `answer`. It may have `file_name`, by which
    region proposals are found.

    Args:
        name_or_path: the dataset, its name on the Hub or its local path. A name may include the split: `D:val`.
        split: the split to read if the name does not include one.
        box_format: "xywh", or "xyxy" if boxes are [x1, y1, x2, y2].

    Raises:
        ValueError: if there is no such dataset or split, or columns are missing.
    """
    import datasets  # slow to import, and not needed for files

    name, split, data = _load(name_or_path, split)
    images = [column for column, feature in data.features.items() if isinstance(feature, datasets.Image)]
    phrases = [column for column in ("caption", "sentences", "answer") if column in data.features]
    if len(images) != 1 or not phrases or "bbox" not in data.features:
        raise ValueError(
            f"The dataset {name!r} needs one image column, bbox, and caption, sentences or answer. Its "
            f"columns are {', '.join(data.features)}."
        )
    data = data.cast_column(images[0], datasets.Image(decode=False))
    files = data["file_name"] if "file_name" in data.features else [f"{split}[{row}]" for row in range(len(data))]
    names, texts, boxes, pictures, rows = [], [], [], [], []
    for row, (said, box, file) in enumerate(zip(data[phrases[0]], data["bbox"], files, strict=True)):
        try:
            meant = check_box(box, box_format)
        except ValueError as error:
            raise ValueError(f"{name}, {split}[{row}]: {error}") from error
        for place, text in enumerate([said] if isinstance(said, str) else said):
            names.append(f"{split}[{row}]" if isinstance(said, str) else f"{split}[{row}].{place}")
            texts.append(text)
            boxes.append(meant)
            pictures.append(file)
            rows.append(row)
    return ReferringExpressions(
        name, names, texts, boxes, pictures, partial(_read_selected, partial(_read_row, data, images[0]), rows)
    )


def _load(source: Any, split: str) -> tuple[str, str, Any]:
    """Return the name, the split and the rows of a dataset for `read_expression_dataset`."""
    if not isinstance(source, str | os.PathLike):
        return "in memory", split, load_split(source, split)
    name, _, named_split = str(source).partition(":")
    if Path(name).is_dir() and not is_saved_dataset(name):
        raise ValueError(f"{name} contains neither {ANNOTATIONS_FILE} nor a saved dataset.")
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith((".", "~"))):
        raise ValueError(f"There is no file or folder {name!r}. Check the path.")
    try:
        return name, named_split or split, load_split(name, named_split or split)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{name!r} is neither a local file nor a dataset that can be loaded.") from error


def _read_row(data: Any, column: str, row: int) -> str | bytes:
    return stored_image(data[row][column])


# -- few-shot samples ------------------------------------------------------------------------------------------------


def draw_expressions(count: int, shots: int, seed: int) -> list[int]:
    """Sample the indices of `shots` phrases in total, not per class, as CPT does.

    The phrases are shuffled by Python's random number generator with the seed, and the first `shots` are taken. For
    the released files, the samples are those of the released code (thunlp/CPT, prompt_feat, refcocodataset.py).
    Smaller samples are subsets of larger ones.

    Args:
        count: number of phrases to sample from.
        shots: number of phrases to sample.
        seed: seed of the sample.

    Raises:
        ValueError: if `shots` is not between 1 and `count`.
    """
    if not 1 <= shots <= count:
        raise ValueError(
            f"Expected between 1 and {count} expressions to train on, got shots={shots}. {count} expressions "
            "are available."
        )
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order[:shots]


def write_sampled_expressions(
    path: str | os.PathLike, expressions: ReferringExpressions, indices: Sequence[int], shots: int, seed: int
) -> None:
    """Save the IDs and texts of the sampled phrases, so that the run can be reproduced (`read_sampled_expressions`).

    Args:
        path: JSON file to write.
        expressions: referring expressions that were sampled from.
        indices: indices of the sampled phrases, as returned by `draw_expressions`.
        shots: number of phrases.
        seed: seed of the sample.
    """
    drawn = [{"id": expressions.names[index], "text": expressions.texts[index]} for index in indices]
    write_json(path, {"source": expressions.source, "shots": shots, "seed": seed, "expressions": drawn})


def read_sampled_expressions(path: str | os.PathLike, expressions: ReferringExpressions) -> list[int]:
    """Return the indices of the phrases in a file written by `write_sampled_expressions`.

    Args:
        path: the file.
        expressions: referring expressions to select from.

    Raises:
        ValueError: if the file is not such a sample, or names phrases that `expressions` does not have.
    """
    match read_json(path, MAX_BYTES, "lists of expressions"):
        case {"expressions": [*drawn]} if drawn and all(
            isinstance(each, dict) and isinstance(each.get("id"), str) for each in drawn
        ):
            place = {name: index for index, name in enumerate(expressions.names)}
            if missing := [each["id"] for each in drawn if each["id"] not in place]:
                raise ValueError(
                    f"{expressions.source} lacks {len(missing)} phrase(s) of the few-shot sample {path}: "
                    f"{missing[:5]}. Pass the data that it was sampled from."
                )
            return [place[each["id"]] for each in drawn]
    raise ValueError(f"{path} is not a sample of expressions. Pass the file that was saved next to a trained model.")
