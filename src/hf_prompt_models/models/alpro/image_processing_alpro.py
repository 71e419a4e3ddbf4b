"""Image processor for ALPRO: the frames of videos, and their augmentation in training."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import (
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    ImageInput,
    PILImageResampling,
    make_nested_list_of_images,
)

from hf_prompt_models.data.images.loading import load_images
from hf_prompt_models.data.videos.augmentation import Change


OPERATIONS = (
    *("identity", "contrast", "brightness", "sharpness", "shear_x", "shear_y"),
    *("translate_x", "translate_y", "rotate", "mirror"),
)
COUNT = 2
"""Number of different operations per video."""

ENHANCEMENT = 1.0
"""Factor of contrast, brightness and sharpness at the magnitude of the released code; 1.0 changes nothing."""
SHEAR, ROTATION, TRANSLATION = 0.15, 15.0, 5 / 224
"""A slope, degrees, and a fraction of the side; always in the same direction, as in the released code."""
GREY = (128, 128, 128)
"""Colour of the pixels that are moved in from outside the frame."""

CROP_SHARE = 224 / 256
"""Side of the crop in pre-training, as a fraction of the frame's side."""


class AlproImageProcessor(PilBackend):
    """Turn frames into `pixel_values`, (videos, frames, 3, height, width).

    As in the released code, frames are resized to squares and normalised with CLIP's mean and standard deviation.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import AlproImageProcessor
        >>> processor = AlproImageProcessor(size={"height": 48, "width": 48})
        >>> processor([Image.new("RGB", (64, 80), "red")] * 4, return_tensors="pt").pixel_values.shape
        torch.Size([1, 4, 3, 48, 48])

        ```
    """

    resample = PILImageResampling.BILINEAR
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    def preprocess(self, images: ImageInput, **kwargs: Any) -> BatchFeature:
        """Prepare the frames of videos.

        Args:
            images: the frames of one video: a list of anything that `load_image` opens, or an array or tensor (frames,
                3, height, width) or (frames, height, width, 3); or a list of such videos, all with the same number of
                frames. Frames of a video may differ in size.
            kwargs: `return_tensors="pt"`, or other values for the settings.
        """
        images = load_images(images, arrays=kwargs.get("do_rescale") is not False)
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list[list[Any]]:
        return make_nested_list_of_images(images, expected_ndims=expected_ndims)

    def _preprocess(self, images: list[list[np.ndarray]], return_tensors: Any = None, **kwargs: Any) -> BatchFeature:
        counts = {len(frames) for frames in images}
        if len(counts) > 1:
            raise ValueError(f"Expected the same number of frames for all videos of a batch, got {sorted(counts)}.")
        prepare = super()._preprocess
        videos = [np.stack(prepare(frames, return_tensors=None, **kwargs)["pixel_values"]) for frames in images]
        return BatchFeature(data={"pixel_values": videos}, tensor_type=return_tensors)


class ClipAugmentation:
    """Augment a video with two random operations and a random crop, the same for all of its frames.

    Released code: `src/datasets/randaugment.py` and `dataset_pretrain_sparse.py`.

    Args:
        operations: whether to apply the operations.
        crop: whether to crop a random square of 224/256 of the frame's sides, as in pre-training. The frame is first
            resized to a square, as it is later for the model.
        flip: whether the operations include mirror images. Turn it off if captions name left and right.
    """

    def __init__(self, operations: bool = True, crop: bool = False, flip: bool = True):
        self.crop = crop
        self.operations = [name for name in OPERATIONS if flip or name != "mirror"] if operations else []

    def __call__(self, frames: Sequence[Image.Image], generator: np.random.Generator) -> list[Image.Image]:
        frames = list(frames)
        if self.crop:
            left, top = generator.uniform(0, 1 - CROP_SHARE, size=2)
            frames = [_cut(frame, left, top) for frame in frames]
        if self.operations:
            for name in generator.choice(self.operations, size=COUNT, replace=False):
                change = _change(str(name))
                frames = [change(frame) for frame in frames]
        return frames


def _cut(frame: Image.Image, left: float, top: float) -> Image.Image:
    width, height = frame.size
    box = (left * width, top * height, (left + CROP_SHARE) * width, (top + CROP_SHARE) * height)
    side = max(round(CROP_SHARE * min(frame.size)), 1)
    return frame.resize((side, side), Image.Resampling.BILINEAR, box=box)


def _change(name: str) -> Change:
    enhancers = {
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
        "sharpness": ImageEnhance.Sharpness,
    }
    if name in enhancers:
        return lambda frame: enhancers[name](frame).enhance(ENHANCEMENT)
    changes: dict[str, Change] = {
        "identity": lambda frame: frame,
        "mirror": ImageOps.mirror,
        "rotate": lambda frame: frame.rotate(ROTATION, Image.Resampling.BILINEAR, fillcolor=GREY),
        "shear_x": lambda frame: _affine(frame, 1, -SHEAR, 0, 0, 1, 0),
        "shear_y": lambda frame: _affine(frame, 1, 0, 0, -SHEAR, 1, 0),
        "translate_x": lambda frame: _affine(frame, 1, 0, TRANSLATION * frame.width, 0, 1, 0),
        "translate_y": lambda frame: _affine(frame, 1, 0, 0, 0, 1, TRANSLATION * frame.height),
    }
    return changes[name]


def _affine(frame: Image.Image, *matrix: float) -> Image.Image:
    transform = Image.Transform.AFFINE
    return frame.transform(frame.size, transform, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)


__all__ = ["AlproImageProcessor"]
