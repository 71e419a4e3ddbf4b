"""Referring expressions as a data set of raw examples, and their collator, which lets the processor paint."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.utils.boxes import Box, box_iou


POSITIVE_IOU = 0.5
"""A region is right if it overlaps the meant box by more."""


class GroundingDataset(Dataset):
    """Examples as `CptProcessor` takes them: `images`, `text`, `boxes`, `masks` and `target_boxes` of one phrase each.

    Args:
        expressions: with candidate regions.
        sample_regions: instead of all regions the right ones and as many of the others, drawn anew each epoch; of a
            picture without a right one, two (thunlp/CPT, Oscar/oscar/datasets/refcoco_fsl_cpt_dataset.py).
        seed: of the draws.
    """

    def __init__(self, expressions: ReferringExpressions, sample_regions: bool = False, seed: int = 0):
        self.expressions = expressions
        self.sample_regions = sample_regions
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, for other draws than in the one before."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.expressions)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.expressions.load(index)
        self.expressions.check_boxes_of(index, image.size)
        regions = self.expressions.proposals[index]
        kept = self.regions(index)
        example = {
            "images": image,
            "text": self.expressions.texts[index],
            "boxes": [paintable(regions.boxes[place]) for place in kept],
            "target_boxes": self.expressions.boxes[index],
        }
        if regions.masks is not None:
            masks = regions.read_masks(image.size, self.expressions.path(index))
            example["masks"] = [masks[place] for place in kept]
        return example

    def regions(self, index: int) -> list[int]:
        """Places of the candidate regions that are used of phrase `index` in this epoch."""
        boxes = self.expressions.proposals[index].boxes
        if not self.sample_regions:
            return list(range(len(boxes)))
        right = (box_iou(boxes, [self.expressions.boxes[index]])[:, 0] > POSITIVE_IOU).tolist()
        positive = [place for place, is_right in enumerate(right) if is_right]
        negative = [place for place, is_right in enumerate(right) if not is_right]
        random.Random(f"{self.seed}/{self.epoch}/{self.expressions.names[index]}").shuffle(negative)
        return positive + negative[: len(positive) or 2]


def paintable(box: Box) -> Box:
    """A box whose whole-numbered corners lie apart, as painting leaves out the right column and the bottom row."""
    x1, y1, x2, y2 = box
    return x1, y1, max(x2, int(x1) + 1), max(y2, int(y1) + 1)


@dataclass(frozen=True)
class GroundingCollator:
    """A batch of `GroundingDataset`'s examples as tensors.

    Attributes:
        processor: a `CptProcessor`.
    """

    processor: Callable[..., Mapping[str, torch.Tensor]]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        columns = {name: [example[name] for example in examples] for name in examples[0]}
        return dict(self.processor(**columns, truncation=True))  # what is cut is reported before, once for all
