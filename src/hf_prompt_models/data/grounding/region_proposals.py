"""Region proposals of images, read from a JSON file: boxes, or boxes and masks."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_prompt_models.data.grounding.masks import decode_rle, polygon_points, read_mask
from hf_prompt_models.utils.boxes import Box, to_xyxy
from hf_prompt_models.utils.files import read_json


MAX_BYTES = 2 * 2**30
"""Largest size in bytes of a file of proposals. Those of all RefCOCO images, with masks, take a few hundred MB."""


@dataclass(frozen=True)
class RegionProposals:
    """Region proposals of one image.

    Attributes:
        boxes: boxes (x1, y1, x2, y2) in pixels, both corners included.
        masks: encoded mask of each box, run lengths or polygons, or `None` if the regions have no masks.
    """

    boxes: list[Box]
    masks: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def read_masks(self, size: tuple[int, int], name: str) -> list[np.ndarray]:
        """Decode the masks to boolean arrays of shape (height, width).

        Args:
            size: width and height of the image.
            name: name of the image in error messages.

        Raises:
            ValueError: if a mask is damaged or differs in size from the image. The message names the image and the
                region.
        """
        masks = []
        for index, mask in enumerate(self.masks or []):
            try:
                masks.append(read_mask(mask, size))
            except ValueError as error:
                raise ValueError(f"Region {index} of {name}: {error}") from error
        return masks


def read_proposals(path: str | os.PathLike, box_format: str = "xywh") -> dict[str, RegionProposals]:
    """Read the region proposals of each image from a JSON file.

    The file holds an object with a list of regions for each image. A region is an object with one or more of `box`,
    [x, y, width, height]; `rle`, `{"size": [height, width], "counts": …}`; and `polygons`. In one file, either all
    regions have a mask or none has. A missing box is computed from the mask. This is the format of CPT's and ReCLIP's
    `dets.json` and `segs.json`, whose keys are COCO image IDs.

    Args:
        path: the file.
        box_format: "xywh", or "xyxy" if boxes are [x1, y1, x2, y2].

    Raises:
        ValueError: if the file is invalid. The message names the file, the image and the region.
    """
    content = read_json(path, MAX_BYTES, "lists of regions")
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path} is not a file of region proposals. Expected an object with a list of regions for each image."
        )
    proposals = {}
    masked = None
    for image, regions in content.items():
        if not isinstance(regions, list):
            raise ValueError(f"{path}: the regions of image {image!r} are not a list.")
        boxes, masks = [], []
        for index, region in enumerate(regions):
            try:
                box, mask = _region(region, box_format)
            except ValueError as error:
                raise ValueError(f"{path}, image {image!r}, region {index}: {error}") from error
            if masked not in (None, mask is not None):
                raise ValueError(
                    f"{path}, image {image!r}, region {index}: either all regions of a file have a mask or "
                    f"none has, but this one has {'one' if mask is not None else 'none'}."
                )
            masked = mask is not None
            boxes.append(box)
            masks.append(mask)
        proposals[image] = RegionProposals(boxes, masks if masked else None)
    return proposals


def _region(region: Any, box_format: str) -> tuple[Box, Any]:
    if not isinstance(region, dict):
        raise ValueError("expected an object with a box, an rle or polygons.")
    mask = region.get("rle", region.get("polygons"))
    if "box" in region:
        return check_box(region["box"], box_format), mask
    if mask is None:
        raise ValueError("there is neither a box nor an rle nor polygons.")
    if isinstance(mask, dict):
        rows, columns = decode_rle(mask).nonzero()
        if not len(rows):
            raise ValueError("the mask is empty.")
        return (float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max())), mask
    xs, ys = zip(*(point for points in polygon_points(mask) for point in points), strict=True)
    return (math.floor(min(xs)), math.floor(min(ys)), math.floor(max(xs)), math.floor(max(ys))), mask


def check_box(box: Any, box_format: str = "xywh") -> Box:
    """Convert a box to corners (x1, y1, x2, y2) in pixels, both included, after checking it.

    Args:
        box: `[x, y, width, height]`, or `[x1, y1, x2, y2]` if `box_format` is "xyxy".
        box_format: "xywh" or "xyxy".

    Raises:
        ValueError: if the box is not four finite numbers, or has no width or height.
    """
    if (
        not isinstance(box, list)
        or len(box) != 4
        or any(type(number) not in (int, float) or not math.isfinite(number) for number in box)
    ):
        raise ValueError(f"a box is four numbers, [x, y, width, height], got {str(box)[:60]}.")
    x1, y1, x2, y2 = to_xyxy(box, box_format)
    return x1, y1, x2 - 1, y2 - 1


def coco_image_id(picture: str) -> list[str]:
    """Return the COCO image ID in a file name, such as "581857" in `COCO_train2014_000000581857.jpg`.

    Returns:
        A list of the ID. For other names, it is the number at the end. The list is empty if there is none.
    """
    stem = Path(picture).stem
    match = re.search(r"(?<!\d)\d{12}(?!\d)", stem) or re.search(r"\d{1,18}$", stem, re.ASCII)
    return [str(int(match[0]))] if match else []
