"""Normalisation of images on the device of the model, so that batches are copied as bytes."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image


PIXELS = "pixel_values"


Prepare = Callable[[Mapping[str, Any]], dict[str, Any]]


def normalized_on_device(dataset: Any, device: torch.device) -> tuple[Any, Prepare]:
    """Return a dataset and the function that prepares its batches on the device of the model.

    On an accelerator, these are those of `normalized_apart`. On the CPU, the dataset is returned as it is, and the
    function changes nothing. So it is for image processors that do more than to rescale and normalise, such as those
    that cut images into patches.

    Args:
        dataset: dataset with an `image_processor`.
        device: device of the model.
    """
    if device.type == "cpu" or not normalizes_alone(dataset.image_processor):
        return dataset, dict
    return normalized_apart(dataset, device)


def normalizes_alone(image_processor: Any) -> bool:
    """Return whether rescaling and normalising the bytes of an image gives the values of an image processor."""
    if image_processor.size is None or not (image_processor.do_rescale and image_processor.do_normalize):
        return False
    dataset = _OneImage(image_processor)
    apart, normalize = normalized_apart(dataset, torch.device("cpu"))
    pixels = apart[0]
    return pixels.dtype == torch.uint8 and torch.allclose(normalize({PIXELS: pixels})[PIXELS], dataset[0], atol=1e-4)


class _OneImage:
    """Dataset of one image with all values, to try an image processor."""

    def __init__(self, image_processor: Any):
        self.image_processor = image_processor

    def __getitem__(self, index: int) -> torch.Tensor:
        values = np.arange(48 * 48 * 3, dtype=np.uint8).reshape(48, 48, 3)
        return self.image_processor([Image.fromarray(values)], return_tensors="pt")[PIXELS]


def normalized_apart(dataset: Any, device: torch.device) -> tuple[Any, Prepare]:
    """Return a dataset whose items hold bytes, a quarter of the memory, and the function that makes pixels of them.

    Args:
        dataset: dataset with an `image_processor` that rescales and normalises images of shape (3, height, width).
        device: device on which batches are rescaled and normalised.
    """
    processor = dataset.image_processor
    unnormalized = copy.copy(processor)
    unnormalized.do_rescale = unnormalized.do_normalize = False
    changed = copy.copy(dataset)
    changed.image_processor = unnormalized
    mean, std = (
        torch.tensor(values, device=device)[:, None, None] for values in (processor.image_mean, processor.image_std)
    )
    factor = processor.rescale_factor

    def normalize(batch: Mapping[str, Any]) -> dict[str, Any]:
        return {**batch, PIXELS: (batch[PIXELS].to(device).float() * factor - mean) / std}

    return changed, normalize
