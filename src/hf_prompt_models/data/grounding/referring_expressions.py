"""Pictures and phrases that each mean one region: RefCOCO, RefCOCO+, RefCOCOg and data in their form."""

import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from hf_prompt_models.data.dataset_rows import is_saved_dataset, load_split, stored_image
from hf_prompt_models.data.grounding.region_proposals import RegionProposals, check_box, read_proposals
from hf_prompt_models.data.images.loading import image_size, load_image
from hf_prompt_models.data.listing import folders_in
from hf_prompt_models.data.splits import find_split
from hf_prompt_models.utils.boxes import Box, check_box_format, check_inside_image
from hf_prompt_models.utils.files import check_inside, read_json, write_json


MAX_BYTES = 2**30
"""Of a file of annotations; MDETR's for RefCOCO's training split has about 100 MB."""
ANNOTATIONS_FILE, PROPOSALS_FILE = "annotations.json", "proposals.json"
"""In a folder of pictures that says all by itself."""
DEFAULT_SEEDS = (0, 1, 2, 3, 4)
"""Those of CPT's few-shot draws."""


@dataclass(frozen=True)
class ReferringExpressions:
    """Phrases, each with the box that it means and the candidate regions of its picture; pictures are read when asked.

    Attributes:
        source: the file or data set they come from.
        names: one a phrase, no two alike: its id.
        texts: the phrases.
        boxes: what each means: corners in pixels, both included.
        pictures: what to call the picture of each.
        read: gives the file or the bytes of the picture of phrase `i`.
        proposals: the candidate regions of each one's picture; empty until `with_proposals`.
        box_format: how the source wrote the boxes, for errors.
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
        """The picture of phrase `index`, RGB.

        Raises:
            UnreadableImageError: naming it.
        """
        return load_image(self.read(index), self.path(index), shrink)

    def check(self, index: int) -> None:
        """See whether the picture of phrase `index` can be decoded.

        Raises:
            UnreadableImageError: naming it.
        """
        self.load(index, shrink=True)

    def check_boxes(self) -> None:
        """See whether all boxes are in their images, whose sizes are read from the files' headers.

        Raises:
            UnreadableImageError: naming an image whose header cannot be read.
            ValueError: naming the source, the image and the phrase or region of a box that leaves its image.
        """
        sizes: dict[str, tuple[int, int]] = {}
        checked: set[int] = set()
        for index, picture in enumerate(self.pictures):
            if picture not in sizes:
                sizes[picture] = image_size(self.read(index), self.path(index))
            self.check_boxes_of(index, sizes[picture], regions=id(self._regions(index)) not in checked)
            checked.add(id(self._regions(index)))

    def check_boxes_of(self, index: int, size: tuple[int, int], regions: bool = True) -> None:
        """See whether the boxes of phrase `index` are in its image.

        Args:
            index: of the phrase.
            size: width and height of its image.
            regions: whether to check the candidate regions, too.

        Raises:
            ValueError: as of `check_boxes`.
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
        """What errors call the picture of phrase `index`."""
        return f"{self.pictures[index]} of {self.source}"

    def select(self, indices: Sequence[int]) -> Self:
        """The phrases at `indices`, in that order."""
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
        """The same phrases with candidate regions, found by the picture's name, its last part, or its COCO image id.

        Args:
            proposals: by picture.
            source: what to call them in an error.

        Raises:
            ValueError: naming pictures that have no candidate region.
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
            raise ValueError(f"{source} has no regions for {len(set(missing))} picture(s) of {self.source}: {listed}.")
        return replace(self, proposals=found)


def _read_selected(read: Callable[[int], Any], indices: Sequence[int], index: int) -> Any:
    return read(indices[index])


def coco_image_id(picture: str) -> list[str]:
    """The id in the name of one of COCO's pictures, "581857" in `COCO_train2014_000000581857.jpg`.

    Other names' number at their end; an empty list where there is none.
    """
    stem = Path(picture).stem
    match = re.search(r"(?<!\d)\d{12}(?!\d)", stem) or re.search(r"\d{1,18}$", stem, re.ASCII)
    return [str(int(match[0]))] if match else []


# -- reading ---------------------------------------------------------------------------------------------------------


def read_referring_expressions(
    source: str | os.PathLike,
    split: str,
    images: str | os.PathLike | None = None,
    proposals: str | os.PathLike | None = None,
    box_format: str = "xywh",
) -> ReferringExpressions:
    """Phrases and the candidate regions of their pictures.

    Args:
        source: one of

            - a JSON file (`read_annotations`);
            - a folder with `annotations.json`, the pictures and, unless `proposals` says another, `proposals.json`; or
              with a folder `<split>` of this kind;
            - a saved `datasets` data set or the name of one (`read_expression_dataset`). May say its split: `D:val`.
        split: the split to read where `source` says none.
        images: the folder of the pictures that a JSON file names. Default: the file's own.
        proposals: JSON file of candidate regions (`region_proposals.read_proposals`).
        box_format: how boxes are written: "xywh", [x, y, width, height], or "xyxy", [x1, y1, x2, y2], in pixels.

    Raises:
        ValueError: if the source is none of these or wrong, or there are no candidate regions.
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
            f"{source} says which regions the phrases mean, not among which they choose: name a JSON file of "
            "proposals, {picture: [{'box': [x, y, width, height]}, …]}."
        )
    return expressions.with_proposals(read_proposals(proposals, box_format), str(proposals))


def read_annotations(
    path: str | os.PathLike, images: str | os.PathLike | None = None, box_format: str = "xywh"
) -> ReferringExpressions:
    """Phrases of a JSON file.

    Args:
        path: a list of objects with `file_name`, `caption`, `bbox` [x, y, width, height] and, if wanted, `id`, as
            CPT's `finetune_<data set>_<split>.json`; or MDETR's form in COCO's manner, whose `images` have `id`,
            `file_name` and `caption`, and whose `annotations` have `image_id` and `bbox`, one for each of the images.
        images: the folder of the pictures. Default: the file's own.
        box_format: "xyxy" where boxes are [x1, y1, x2, y2].

    Raises:
        ValueError: naming file and place, if it is neither.
    """
    path = Path(path)
    content = read_json(path, MAX_BYTES, "lists of expressions")
    if isinstance(content, dict):
        content = _joined(path, content)
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is not a list of phrases, objects with file_name, caption and bbox.")
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
        raise ValueError(f"{path} holds neither a list of phrases nor COCO's images and annotations.")
    boxes: dict[Any, Any] = {}
    for annotation in annotations:
        match annotation:
            case {"image_id": int() | str() as image, "bbox": box} if image not in boxes:
                boxes[image] = box
            case _:
                raise ValueError(
                    f"{path}: expected one annotation with image_id and bbox for each of its images, got "
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
            raise ValueError(f"{source} has two phrases with the id {name!r}.")
        seen.add(name)


def _file(folder: Path, pictures: Sequence[str], index: int) -> Path:
    """A function of its own: workers that are spawned get it pickled."""
    return folder / pictures[index]


def read_expression_dataset(name_or_path: Any, split: str, box_format: str = "xywh") -> ReferringExpressions:
    """Phrases of a `datasets` data set: itself, its Hub name or its local path.

    Its columns are an `Image`; `bbox`, [x, y, width, height]; the phrase or a list of them as `caption`, `sentences`
    or, in lmms-lab/RefCOCO and its kin, `answer`; and, if it has it, `file_name`, by which regions are found.

    Raises:
        ValueError: if there is no such data set or split, or it has not these columns.
    """
    import datasets  # slow to import, and not needed for files

    name, split, data = _load(name_or_path, split)
    images = [column for column, feature in data.features.items() if isinstance(feature, datasets.Image)]
    phrases = [column for column in ("caption", "sentences", "answer") if column in data.features]
    if len(images) != 1 or not phrases or "bbox" not in data.features:
        raise ValueError(
            f"The data set {name!r} needs one image column, bbox, and caption, sentences or answer; its columns are "
            f"{', '.join(data.features)}."
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
    """The name, the split and the rows of a data set, as `read_expression_dataset` takes it."""
    if not isinstance(source, str | os.PathLike):
        return "in memory", split, load_split(source, split)
    name, _, named_split = str(source).partition(":")
    if Path(name).is_dir() and not is_saved_dataset(name):
        raise ValueError(f"{name} holds neither {ANNOTATIONS_FILE} nor a saved data set.")
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith((".", "~"))):
        raise ValueError(f"There is no file or folder {name!r}.")
    try:
        return name, named_split or split, load_split(name, named_split or split)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{name!r} is neither a file here nor a data set that can be loaded.") from error


def _read_row(data: Any, column: str, row: int) -> str | bytes:
    return stored_image(data[row][column])


# -- few-shot draws --------------------------------------------------------------------------------------------------


def draw_expressions(count: int, shots: int, seed: int) -> list[int]:
    """Indices of `shots` phrases out of `count`, N in all and not by class, as CPT draws them.

    The first N of the phrases, shuffled by Python's generator with the seed: for the released files in their order the
    very draws of the released code (thunlp/CPT, prompt_feat, refcocodataset.py), and smaller ones part of larger ones.

    Raises:
        ValueError: if there are not so many.
    """
    if not 1 <= shots <= count:
        raise ValueError(
            f"shots is the number of expressions to learn from, from 1 to the {count} there are; got {shots}."
        )
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order[:shots]


def write_drawn_expressions(
    path: str | os.PathLike, expressions: ReferringExpressions, indices: Sequence[int], shots: int, seed: int
) -> None:
    """Write down which phrases were drawn, so that the run can be repeated (`read_drawn_expressions`)."""
    drawn = [{"id": expressions.names[index], "text": expressions.texts[index]} for index in indices]
    write_json(path, {"source": expressions.source, "shots": shots, "seed": seed, "expressions": drawn})


def read_drawn_expressions(path: str | os.PathLike, expressions: ReferringExpressions) -> list[int]:
    """Indices of the phrases that a file of `write_drawn_expressions` names.

    Raises:
        ValueError: if it is no such file, or names phrases that are not there.
    """
    match read_json(path, MAX_BYTES, "lists of expressions"):
        case {"expressions": [*drawn]} if drawn and all(
            isinstance(each, dict) and isinstance(each.get("id"), str) for each in drawn
        ):
            place = {name: index for index, name in enumerate(expressions.names)}
            if missing := [each["id"] for each in drawn if each["id"] not in place]:
                raise ValueError(f"{expressions.source} lacks {len(missing)} phrase(s) of {path}: {missing[:5]}.")
            return [place[each["id"]] for each in drawn]
    raise ValueError(f"{path} is not a list of drawn expressions as written beside a trained model.")
