"""PyTorch data sets of labelled images for the Trainer."""

import hashlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.images.augmentation import augment
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images


CACHE_BYTES = 2**30
"""Decoded images kept in memory: a few-shot set is small and is read every epoch."""


class Epoch:
    """The epoch's number, in shared memory: workers that outlive an epoch see it change."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        self._epoch.fill_(epoch)

    @property
    def epoch(self) -> int:
        """The number of this epoch."""
        return int(self._epoch)


def as_labelled(images: Any) -> LabelledImages:
    """Return labelled images, read if need be, each with a label.

    Args:
        images: `LabelledImages`, or a source for `read_labelled_images`.

    Raises:
        ValueError: if one has no label.
    """
    labelled = images if isinstance(images, LabelledImages) else read_labelled_images(images)
    for index in range(len(labelled)):
        labelled.check_label(index)
    return labelled


class ImageDataset(Dataset):
    """Images as what the image processor makes of them for testing (`pixel_values`, …), and `labels`.

    Args:
        images: labelled images, or what `read_labelled_images` reads them of, such as a `datasets.Dataset`.
        image_processor: the backbone's.

    Raises:
        ValueError: if an image has no label. `images.readable("skip")` leaves such images out.
    """

    def __init__(self, images: Any, image_processor: Any):
        self.images = as_labelled(images)
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        inputs = self.image_processor(self.images.load(index), return_tensors="pt")
        return {name: tensor[0] for name, tensor in inputs.items()} | {"labels": self.images.labels[index]}

    @property
    def labels(self) -> torch.Tensor:
        """(items,) class indices."""
        return torch.tensor(self.images.labels)

    def key(self, index: int) -> bytes:
        """32 bytes that tell the item's pixels, but for the processor, from any other's."""
        return self.images.digest(index)


class AugmentedImageDataset(Epoch, Dataset):
    """Random crops and mirror images, drawn anew each epoch.

    What is drawn for an image depends on `seed`, the epoch and the image's index alone, so that runs can be resumed
    and repeated whatever the number of workers.

    Args:
        images: labelled images, or what they are read of, as for `ImageDataset`.
        image_processor: the backbone's. It only rescales and normalises: the crop has the size already. One that
            chooses the size itself, by the number of patches (SigLIP 2 NaFlex), does so for the crop.
        seed: of the augmentation.
        min_crop_area: smallest share of an image that a random crop keeps.
    """

    def __init__(self, images: Any, image_processor: Any, seed: int = 0, min_crop_area: float = 0.08):
        super().__init__()
        self.images = as_labelled(images)
        self.image_processor = image_processor
        self.seed = seed
        self.min_crop_area = min_crop_area
        self._cache: dict[int, Image.Image] = {}
        self._cache_room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._augment(index, np.random.default_rng([self.seed, self.epoch, index]))

    def _augment(self, index: int, generator: np.random.Generator) -> dict[str, Any]:
        processor = self.image_processor
        size = processor.crop_size if processor.do_center_crop else processor.size
        side = None if size is None else size["height"]
        crop = augment(self._load(index), side, generator, self.min_crop_area)
        inputs = processor(crop, do_resize=side is None, do_center_crop=False, return_tensors="pt")
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


class AugmentedViewDataset(AugmentedImageDataset):
    """A few random crops and mirror images of each image, drawn once.

    Item `i * num_views + v` is view `v` of image `i`. What is drawn depends on `seed`, the view's number and what the
    image's file holds.

    Args:
        num_views: views an image.
        images, image_processor, seed, min_crop_area: as for `AugmentedImageDataset`.
    """

    def __init__(self, num_views: int, images: Any, image_processor: Any, seed: int = 0, min_crop_area: float = 0.08):
        super().__init__(images, image_processor, seed, min_crop_area)
        self.num_views = num_views

    def __len__(self) -> int:
        return len(self.images) * self.num_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng(np.frombuffer(self.key(index), dtype=np.uint32))
        return self._augment(index // self.num_views, generator)

    @property
    def labels(self) -> torch.Tensor:
        """(items,) class indices."""
        return torch.tensor(self.images.labels).repeat_interleave(self.num_views)

    def key(self, index: int) -> bytes:
        """32 bytes that tell the item's pixels, but for the processor, from any other's."""
        image, view = divmod(index, self.num_views)
        drawn = f"seed {self.seed}, view {view}, crops from {self.min_crop_area}".encode()
        return hashlib.sha256(self.images.digest(image) + drawn).digest()


class FeatureDataset(Dataset):
    """Features computed before, as the model's input of that name, and `labels`.

    Args:
        features: (images, dim); of videos (videos, frames, dim) or (videos, views, frames, dim).
        labels: (images,).
        name: what the model calls them.
    """

    def __init__(self, features: torch.Tensor, labels: torch.Tensor, name: str = "image_embeds"):
        self.features = features
        self.labels = labels
        self.name = name

    @property
    def image_embeds(self) -> torch.Tensor:
        return self.features

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {self.name: self.features[index], "labels": self.labels[index]}


class ViewFeatureDataset(Epoch, Dataset):
    """Features of some views of each image, as `image_embeds` and `labels`; each epoch draws one of an image's views.

    Args:
        view_embeds: (images, views, dim).
        labels: (images,).
        seed: of the drawing.
    """

    def __init__(self, view_embeds: torch.Tensor, labels: torch.Tensor, seed: int = 0):
        super().__init__()
        self.view_embeds = view_embeds
        self.labels = labels
        self.seed = seed

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        view = np.random.default_rng([self.seed, self.epoch, index]).integers(self.view_embeds.shape[1])
        return {"image_embeds": self.view_embeds[index, view], "labels": self.labels[index]}
