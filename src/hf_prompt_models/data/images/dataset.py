"""PyTorch datasets of labelled images for the Trainer."""

import hashlib
import threading
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.images.augmentation import augment
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.utils.loading import DecodedDataset


CACHE_BYTES = 2**28
"""Largest total size in bytes of decoded images that a dataset keeps in memory, because every epoch reads them."""
CACHE_LOCK = threading.Lock()  # not an attribute of datasets, which are sent to other processes
RECENT_IMAGES = 8
"""Number of decoded images that are kept while their views are read, one after the other, by a few threads."""
VIEW_SEED = 1
"""Seed of stored views, which is the same in all runs so that they share the features of the views."""


class Epoch:
    """Epoch number in shared memory, so that persistent data loader workers see it change."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the random samples depend."""
        self._epoch.fill_(epoch)

    @property
    def epoch(self) -> int:
        """Current epoch, counted from 0."""
        return int(self._epoch)


def as_labelled(images: Any) -> LabelledImages:
    """Return labelled images after checking that each of them has a label.

    Args:
        images: `LabelledImages`, or a source for `read_labelled_images`.

    Raises:
        ValueError: if an image has no label.
    """
    labelled = images if isinstance(images, LabelledImages) else read_labelled_images(images)
    for index in range(len(labelled)):
        labelled.check_label(index)
    return labelled


class ImageDataset(DecodedDataset):
    """Dataset of preprocessed images for evaluation.

    An item holds the output of the image processor (`pixel_values`, …) and `labels`.

    Args:
        images: labelled images, or a source for `read_labelled_images`, such as a `datasets.Dataset`.
        image_processor: image processor of the backbone.
        reduced_jpeg: whether JPEGs are decoded at a reduced size that is at least the size that they are resized to.
            Large photos are decoded several times faster, but features change a little.

    Raises:
        ValueError: if an image has no label. `images.readable("skip")` leaves such images out. Also if JPEGs are to
            be reduced, and the image processor does not resize images to one size.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpProcessor
        >>> from hf_prompt_models.data import ImageDataset
        >>> from hf_prompt_models.playground import write_image_folder
        >>> write_image_folder("shapes", seed=0, train_per_class=2, test_per_class=1)
        >>> dataset = ImageDataset("shapes:test", CoOpProcessor.from_backbone("playground").image_processor)
        >>> len(dataset), dataset[0]["pixel_values"].shape, dataset[0]["labels"]
        (12, torch.Size([3, 48, 48]), 0)

        ```
    """

    def __init__(self, images: Any, image_processor: Any, reduced_jpeg: bool = False):
        self.images = as_labelled(images)
        self.image_processor = image_processor
        self.least_side = resized_side(image_processor) if reduced_jpeg else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        inputs = self.image_processor(self.images.load(index, least_side=self.least_side), return_tensors="pt")
        return {name: tensor[0] for name, tensor in inputs.items()} | {"labels": self.images.labels[index]}

    @property
    def labels(self) -> torch.Tensor:
        """Class indices of shape (items,)."""
        return torch.tensor(self.images.labels)

    def key(self, index: int) -> bytes:
        """Return a 32-byte key that identifies the pixels of an item before the image processor is applied."""
        digest = self.images.digest(index)
        if self.least_side is None:
            return digest
        return hashlib.sha256(digest + f"decoded with at least {self.least_side} pixels".encode()).digest()


def resized_side(image_processor: Any) -> int:
    """Return the longest side in pixels that an image processor resizes the shorter side of an image to.

    Raises:
        ValueError: if it does not resize images to one size.
    """
    size = image_processor.size if image_processor.do_resize else None
    sides = [] if size is None else [size[name] for name in ("shortest_edge", "height", "width") if size.get(name)]
    if not sides:
        raise ValueError(
            "This image processor does not resize images to one size, so JPEGs cannot be decoded at a reduced size. "
            "Leave --reduced_jpeg out."
        )
    return max(sides)


class AugmentedImageDataset(Epoch, DecodedDataset):
    """Dataset of randomly cropped and flipped images, sampled again each epoch.

    The augmentation of an image depends only on `seed`, the epoch and the index of the image. Runs can therefore be
    resumed and reproduced with any number of workers.

    Args:
        images: labelled images, or a source for them, as for `ImageDataset`.
        image_processor: image processor of the backbone. It only rescales and normalises, because the crop already
            has the right size. A processor that chooses the size from the number of patches (SigLIP 2 NaFlex) also
            resizes the crop.
        seed: seed of the augmentation.
        min_crop_area: smallest area of a random crop, as a fraction of the image area.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpProcessor
        >>> from hf_prompt_models.data import AugmentedImageDataset
        >>> from hf_prompt_models.playground import write_image_folder
        >>> write_image_folder("shapes", seed=0, train_per_class=2, test_per_class=1)
        >>> dataset = AugmentedImageDataset("shapes:train", CoOpProcessor.from_backbone("playground").image_processor)
        >>> first = dataset[0]["pixel_values"]
        >>> dataset.set_epoch(1)
        >>> bool((dataset[0]["pixel_values"] == first).all())
        False

        ```
    """

    def __init__(self, images: Any, image_processor: Any, seed: int = 0, min_crop_area: float = 0.08):
        super().__init__()
        self.images = as_labelled(images)
        self.image_processor = image_processor
        self.seed = seed
        self.min_crop_area = min_crop_area
        self._cache: dict[int, Image.Image] = {}
        self._cache_bytes_left = CACHE_BYTES

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
            with CACHE_LOCK:  # several threads read the items of a batch
                if size <= self._cache_bytes_left:
                    self._cache_bytes_left -= size
                    self._cache[index] = image
        return image


class AugmentedViewDataset(AugmentedImageDataset):
    """Dataset of a fixed number of random views (crops and flips) of each image, sampled once.

    Item `i * num_views + v` is view `v` of image `i`. A view depends only on `v`, `min_crop_area` and the content of
    the image file. All runs and seeds on the same images therefore share the features of the views.

    Args:
        num_views: number of views per image.
        images: labelled images, or a source for them, as for `ImageDataset`.
        image_processor: image processor of the backbone, as for `AugmentedImageDataset`.
        seed: seed of the samples that training takes of the views in each epoch. The views do not depend on it.
        min_crop_area: smallest area of a random crop, as a fraction of the image area.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpProcessor
        >>> from hf_prompt_models.data import AugmentedViewDataset
        >>> from hf_prompt_models.playground import write_image_folder
        >>> write_image_folder("shapes", seed=0, train_per_class=2, test_per_class=1)
        >>> image_processor = CoOpProcessor.from_backbone("playground").image_processor
        >>> dataset = AugmentedViewDataset(3, "shapes:test", image_processor)  # three views of each image
        >>> len(dataset), dataset.labels[:4]
        (36, tensor([0, 0, 0, 1]))

        ```
    """

    def __init__(self, num_views: int, images: Any, image_processor: Any, seed: int = 0, min_crop_area: float = 0.08):
        super().__init__(images, image_processor, seed, min_crop_area)
        self.num_views = num_views
        self._recent: list[tuple[int, Image.Image] | None] = [None] * RECENT_IMAGES

    def __len__(self) -> int:
        return len(self.images) * self.num_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng(np.frombuffer(self.key(index), dtype=np.uint32))
        return self._augment(index // self.num_views, generator)

    def _load(self, index: int) -> Image.Image:
        recent = self._recent[index % RECENT_IMAGES]
        if recent is None or recent[0] != index:
            recent = self._recent[index % RECENT_IMAGES] = (index, self.images.load(index))
        return recent[1]

    @property
    def labels(self) -> torch.Tensor:
        """Class indices of shape (items,)."""
        return torch.tensor(self.images.labels).repeat_interleave(self.num_views)

    def key(self, index: int) -> bytes:
        """Return a 32-byte key that identifies the pixels of an item before the image processor is applied."""
        image, view = divmod(index, self.num_views)
        drawn = f"seed {VIEW_SEED}, view {view}, crops from {self.min_crop_area}".encode()
        return hashlib.sha256(self.images.digest(image) + drawn).digest()


class FeatureDataset(Dataset):
    """Dataset of precomputed features and `labels`.

    Args:
        features: tensor of shape (images, dim); for videos (videos, frames, dim) or (videos, views, frames, dim).
        labels: tensor of shape (images,).
        name: name of the model input that the features are passed as.
    """

    def __init__(self, features: torch.Tensor, labels: torch.Tensor, name: str = "image_embeds"):
        self.features = features
        self.labels = labels
        self.name = name

    @property
    def image_embeds(self) -> torch.Tensor:
        """Precomputed features, whatever the name of the model input."""
        return self.features

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {self.name: self.features[index], "labels": self.labels[index]}


class ViewFeatureDataset(Epoch, Dataset):
    """Dataset of precomputed features of several views per image, of which each epoch samples one per image.

    An item holds `image_embeds` and `labels`.

    Args:
        view_embeds: tensor of shape (images, views, dim).
        labels: tensor of shape (images,).
        seed: seed of the sampling.
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
