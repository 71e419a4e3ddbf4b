"""Regions of pictures on their way into tensors: checked, shared out over copies, measured, padded."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.prompts.colors import Box, check_masks, clip_boxes, mask_boxes


Region = Box | np.ndarray
"""A box, or a mask (height, width)."""
POSITIVE_IOU = 0.5
"""A region is meant if it overlaps the true box by more (strictly), as in the released code."""


def as_picture(image: Any, index: int) -> Image.Image:
    """An RGB image of whatever `load_image` opens.

    Raises:
        TypeError: for anything else, naming its place.
        UnreadableImageError: if it cannot be decoded.
    """
    try:
        return load_image(image)
    except TypeError as error:
        raise TypeError(f"Image {index}: {error} Regions are painted on the pixels of the original image.") from error


def find_regions(
    images: Sequence[Any], boxes: Sequence[Any] | None, masks: Sequence[Any] | None, count: int
) -> tuple[list[Image.Image], list[list[Region]], list[list[Box]]]:
    """Pictures, the regions to paint in each, and these regions' boxes.

    Args:
        images, boxes, masks: as in `CptProcessor.__call__`.
        count: of examples.

    Raises:
        ValueError: for an example without regions, regions that are empty, or counts that differ.
    """
    if boxes is None and masks is None:
        raise ValueError("Pass boxes or masks: the regions of each picture that are candidates.")
    for name, given in (("images", images), ("boxes", boxes), ("masks", masks)):
        if given is not None and len(given) != count:
            raise ValueError(f"{name} are for {len(given)} examples; there are {count}: one entry for each.")
    pictures = [as_picture(image, index) for index, image in enumerate(images)]
    all_regions: list[list[Region]] = []
    all_boxes: list[list[Box]] = []
    for index, picture in enumerate(pictures):
        try:
            of_boxes = None if boxes is None else clip_boxes(boxes[index], picture.size)
            of_masks = None if masks is None else check_masks(masks[index], picture.size)
        except ValueError as error:
            raise ValueError(f"Example {index}: {error}") from error
        if of_boxes is not None and of_masks is not None and len(of_boxes) != len(of_masks):
            raise ValueError(
                f"Example {index} has {len(of_boxes)} boxes and {len(of_masks)} masks: one mask for each box."
            )
        regions = of_masks if of_masks is not None else of_boxes
        if not regions:
            raise ValueError(f"Example {index} has no regions: pass at least one box or mask.")
        all_regions.append(list(regions))
        all_boxes.append(of_boxes if of_boxes is not None else mask_boxes(of_masks or []))
    return pictures, all_regions, all_boxes


def assign_colors(num_regions: int, num_colors: int, anchored: bool = False) -> list[list[int]]:
    """Which regions are painted in each copy, in the order of the colours: ceil(regions / colours) copies.

    With an anchor the first region is the first in every copy, and the others share the other colours.
    """
    if not anchored:
        return [
            list(range(start, min(start + num_colors, num_regions))) for start in range(0, num_regions, num_colors)
        ]
    others = [
        list(range(start, min(start + num_colors - 1, num_regions))) for start in range(1, num_regions, num_colors - 1)
    ]
    return [[0, *numbers] for numbers in others] or [[0]]


def choose_training_regions(
    overlaps: Sequence[float] | torch.Tensor, generator: random.Random, max_positives: int | None = None
) -> list[int]:
    """The regions to train with: the positive ones, and as many negative ones drawn at random (the released code).

    Pass these regions' boxes alone to the processor: few copies are painted, and both kinds count the same.

    Args:
        overlaps: each region's IoU with the true box; above 0.5 it is positive.
        generator: draws.
        max_positives: draw so many of the positive ones; the released code takes one where it has 16 examples in all.

    Returns:
        Places of regions, ascending. Where none is positive, the first alone.
    """
    positive = [place for place, overlap in enumerate(overlaps) if overlap > POSITIVE_IOU]
    negative = [place for place, overlap in enumerate(overlaps) if overlap <= POSITIVE_IOU]
    if not positive:
        return [0]
    if max_positives is not None:
        positive = generator.sample(positive, min(max_positives, len(positive)))
    return sorted([*positive, *generator.sample(negative, min(len(positive), len(negative)))])


def region_geometry(boxes: Sequence[Box], size: tuple[int, int]) -> torch.Tensor:
    """x1/W, y1/H, x2/W, y2/H, (x2 - x1)/W, (y2 - y1)/H of boxes in a picture of a width and height, (boxes, 6)."""
    corners = torch.tensor(boxes, dtype=torch.float32)
    scale = torch.tensor([*size, *size], dtype=torch.float32)
    return torch.cat([corners / scale, (corners[:, 2:] - corners[:, :2]) / scale[:2]], dim=1)


def pad_stack(tensors: Sequence[torch.Tensor], value: float = 0) -> torch.Tensor:
    """Tensors of one number of dimensions stacked, each padded at its ends to the largest size."""
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    stacked = tensors[0].new_full((len(tensors), *shape), value)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(slice(size) for size in tensor.shape)] = tensor
    return stacked
