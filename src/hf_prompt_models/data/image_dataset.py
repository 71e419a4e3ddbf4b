"""PyTorch data sets of labelled images for the Trainer."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.augmentation import augment
from hf_prompt_models.data.labelled_images import LabelledImages


CACHE_BYTES = 2**30
"""Decoded images kept in memory: a few-shot set is small and is read every epoch."""


class ImageDataset(Dataset):
    """Images as what the image processor makes of them (`pixel_values`, …), and `labels`.

    Args:
        images: the labelled images.
        image_processor: the backbone's. In training it only rescales and normalises: the crop has the size already.
            One that chooses the size itself, by the number of patches (SigLIP 2 NaFlex), does so for the crop.
        augmented: draw random crops and mirror images. What is drawn for an image depends on `seed`, the epoch and
            the image's index alone, so that runs can be resumed and repeated whatever the number of workers.
        seed: of the augmentation.
        min_crop_area: smallest share of an image that a random crop keeps.
    """

    def __init__(
        self,
        images: LabelledImages,
        image_processor: Any,
        augmented: bool = False,
        seed: int = 0,
        min_crop_area: float = 0.08,
    ):
        self.images = images
        self.image_processor = image_processor
        self.augmented = augmented
        self.seed = seed
        self.min_crop_area = min_crop_area
        # Shared memory: workers that outlive an epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()
        self._cache: dict[int, Image.Image] = {}
        self._cache_room = CACHE_BYTES if augmented else 0

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self._load(index)
        if self.augmented:
            generator = np.random.default_rng([self.seed, int(self._epoch), index])
            size = self._size()
            image = augment(image, size, generator, self.min_crop_area)
            inputs = self.image_processor(image, do_resize=size is None, do_center_crop=False, return_tensors="pt")
        else:
            inputs = self.image_processor(image, return_tensors="pt")
        return {name: tensor[0] for name, tensor in inputs.items()} | {"labels": self.images.labels[index]}

    def _load(self, index: int) -> Image.Image:
        image = self._cache.get(index)
        if image is None:
            image = self.images.load(index)
            size = 3 * image.width * image.height
            if size <= self._cache_room:
                self._cache_room -= size
                self._cache[index] = image
        return image

    def _size(self) -> int | None:
        size = self.image_processor.crop_size if self.image_processor.do_center_crop else self.image_processor.size
        return None if size is None else size["height"]


class FeatureDataset(Dataset):
    """Image features computed before, as `image_embeds` and `labels`.

    Args:
        image_embeds: (images, dim).
        labels: (images,).
    """

    def __init__(self, image_embeds: torch.Tensor, labels: torch.Tensor):
        self.image_embeds = image_embeds
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image_embeds": self.image_embeds[index], "labels": self.labels[index]}
