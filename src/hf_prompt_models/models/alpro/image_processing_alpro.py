"""Image processor for ALPRO: the frames of videos."""

from typing import Any, ClassVar

import numpy as np
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


class AlproImageProcessor(PilBackend):
    """Frames to `pixel_values`, (videos, frames, 3, height, width).

    As the released code: frames become squares, whatever their shape, and CLIP's mean and deviation are used.
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
        """Prepare videos.

        Args:
            images: the frames of one video: a list of whatever `load_image` opens, or an array or tensor (frames, 3,
                height, width) or (frames, height, width, 3); or a list of such videos, with equally many frames.
                Frames of a video may differ in size.
            kwargs: `return_tensors="pt"`, or other values for the settings.
        """
        images = load_images(images, arrays=kwargs.get("do_rescale") is not False)
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list[list[Any]]:
        return make_nested_list_of_images(images, expected_ndims=expected_ndims)

    def _preprocess(self, images: list[list[np.ndarray]], return_tensors: Any = None, **kwargs: Any) -> BatchFeature:
        counts = {len(frames) for frames in images}
        if len(counts) > 1:
            raise ValueError(f"The videos of a batch have equally many frames; got {sorted(counts)}.")
        prepare = super()._preprocess
        videos = [np.stack(prepare(frames, return_tensors=None, **kwargs)["pixel_values"]) for frames in images]
        return BatchFeature(data={"pixel_values": videos}, tensor_type=return_tensors)


__all__ = ["AlproImageProcessor"]
