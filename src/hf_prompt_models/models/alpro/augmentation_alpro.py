"""The random changes that ALPRO is trained with, the same for all frames of a video (released code:
`src/datasets/randaugment.py` and `dataset_pretrain_sparse.py`), on PIL images."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from hf_prompt_models.data.videos.augmentation import Change


OPERATIONS = (
    *("identity", "contrast", "brightness", "sharpness", "shear_x", "shear_y"),
    *("translate_x", "translate_y", "rotate", "mirror"),
)
COUNT = 2
"""Different operations of a video."""

ENHANCEMENT = 1.0
"""Factor of contrast, brightness and sharpness at the magnitude of the released code: nothing changes."""
SHEAR, ROTATION, TRANSLATION = 0.15, 15.0, 5 / 224
"""A slope, degrees, and a share of the side; always the same way, as in the released code."""
GREY = (128, 128, 128)
"""What comes in at the sides."""

CROP_SHARE = 224 / 256
"""Side of the crop, of the frame's, in pre-training."""


class ClipAugmentation:
    """Two of the released code's operations, drawn once for all frames of a video, and a crop.

    Args:
        operations: whether there are any but the crop.
        crop: whether a random square of 224/256 of the frame's sides is cut out, as in pre-training. The frame is
            resized to a square first, as it is later for the model.
        flip: whether the operations include mirror images; not where left and right tell captions apart.
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
