"""Image processor for the video frames of ActionCLIP."""

from typing import Any, ClassVar, Self

import numpy as np
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import (
    OPENAI_CLIP_MEAN,
    OPENAI_CLIP_STD,
    ImageInput,
    PILImageResampling,
    make_nested_list_of_images,
)

from hf_prompt_models.data.images.loading import load_images


class ActionClipImageProcessor(PilBackend):
    """Convert video frames to `pixel_values`, (videos, frames, 3, height, width).

    Frames are prepared as in the evaluation of the released code: PIL's bicubic interpolation resizes the short side
    to 256/224 of the crop size, the centre is cropped, and pixels are normalised with CLIP's mean and deviation.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import ActionClipImageProcessor
        >>> processor = ActionClipImageProcessor(size={"shortest_edge": 54}, crop_size={"height": 48, "width": 48})
        >>> frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
        >>> processor(frames, return_tensors="pt").pixel_values.shape
        torch.Size([1, 2, 3, 48, 48])

        ```
    """

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size: ClassVar[dict[str, int]] = {"shortest_edge": 256}
    default_to_square = False
    crop_size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_center_crop = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True

    @classmethod
    def from_image_processor(cls, image_processor: BaseImageProcessor) -> Self:
        """Make a video frame processor from the image processor of a backbone.

        Args:
            image_processor: image processor whose crop size, mean and deviation are used.
        """
        crop = (image_processor.crop_size or image_processor.size).height
        return cls(
            size={"shortest_edge": crop * 256 // 224},
            crop_size={"height": crop, "width": crop},
            image_mean=list(image_processor.image_mean),
            image_std=list(image_processor.image_std),
        )

    def preprocess(self, images: ImageInput, **kwargs: Any) -> BatchFeature:
        """Prepare the frames of one or more videos.

        Args:
            images: the frames of one video: a list of anything that `load_image` opens, or an array or tensor (frames,
                3, height, width) or (frames, height, width, 3). Or a list of such videos with the same number of
                frames. The frames of a video may differ in size.
            kwargs: `return_tensors`, or other values of the settings.
        """
        images = load_images(images, arrays=kwargs.get("do_rescale") is not False)
        return super().preprocess(images, **kwargs)

    def _prepare_images_structure(self, images: ImageInput, expected_ndims: int = 3) -> list[list[Any]]:
        return make_nested_list_of_images(images, expected_ndims=expected_ndims)

    def _preprocess(self, images: list[list[np.ndarray]], return_tensors: Any = None, **kwargs: Any) -> BatchFeature:
        prepare = super()._preprocess
        videos = [np.stack(prepare(frames, return_tensors=None, **kwargs)["pixel_values"]) for frames in images]
        return BatchFeature(data={"pixel_values": videos}, tensor_type=return_tensors)


__all__ = ["ActionClipImageProcessor"]
