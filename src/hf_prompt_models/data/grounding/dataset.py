"""PyTorch dataset of referring expressions, and the collator that passes them to the processor."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.utils.boxes import Box, box_iou
from hf_prompt_models.utils.loading import DecodedDataset


POSITIVE_IOU = 0.5
"""IoU with the target box above which a region is a correct one."""


class GroundingDataset(DecodedDataset):
    """Dataset of referring expressions in the format of `CptProcessor`.

    An item holds `images`, `text`, `boxes`, `target_boxes` and, if the regions have masks, `masks` of one phrase.

    Args:
        expressions: referring expressions with region proposals.
        sample_regions: whether to use, instead of all regions, the correct ones and as many of the others, sampled
            again each epoch. For an image without a correct region, two others are used (thunlp/CPT,
            Oscar/oscar/datasets/refcoco_fsl_cpt_dataset.py).
        seed: seed of the sampling.

    Example:
        ```python
        >>> from hf_prompt_models.data import GroundingDataset, read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> write_scene_folder("scenes", seed=0, train=3, test=1)
        >>> dataset = GroundingDataset(read_referring_expressions("scenes", split="train"))
        >>> len(dataset), sorted(dataset[0])
        (3, ['boxes', 'images', 'target_boxes', 'text'])

        ```
    """

    def __init__(self, expressions: ReferringExpressions, sample_regions: bool = False, seed: int = 0):
        self.expressions = expressions
        self.sample_regions = sample_regions
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the sampled regions depend."""
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
        """Return the indices of the region proposals that are used for phrase `index` in this epoch."""
        boxes = self.expressions.proposals[index].boxes
        if not self.sample_regions:
            return list(range(len(boxes)))
        right = (box_iou(boxes, [self.expressions.boxes[index]])[:, 0] > POSITIVE_IOU).tolist()
        positive = [place for place, is_right in enumerate(right) if is_right]
        negative = [place for place, is_right in enumerate(right) if not is_right]
        random.Random(f"{self.seed}/{self.epoch}/{self.expressions.names[index]}").shuffle(negative)
        return positive + negative[: len(positive) or 2]


def paintable(box: Box) -> Box:
    """Return a box of at least one painted pixel, as painting excludes the right column and the bottom row."""
    x1, y1, x2, y2 = box
    return x1, y1, max(x2, int(x1) + 1), max(y2, int(y1) + 1)


@dataclass(frozen=True)
class GroundingCollator:
    """Collate examples of `GroundingDataset` to a batch of tensors.

    Attributes:
        processor: a `CptProcessor`.

    Example:
        ```python
        >>> from hf_prompt_models import CptProcessor
        >>> from hf_prompt_models.data import GroundingCollator, GroundingDataset, read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> write_scene_folder("scenes", seed=0, train=3, test=1)
        >>> dataset = GroundingDataset(read_referring_expressions("scenes", split="train"))
        >>> collator = GroundingCollator(CptProcessor.from_backbone("playground"))
        >>> collator([dataset[0], dataset[1]])["labels"].shape  # (phrases, regions)
        torch.Size([2, 4])

        ```
    """

    processor: Callable[..., Mapping[str, torch.Tensor]]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Process examples to a batch."""
        columns = {name: [example[name] for example in examples] for name in examples[0]}
        return dict(self.processor(**columns, truncation=True))  # truncated texts are reported once, beforehand
