"""Image processor for open_clip's resize mode "longest", which no image processor of transformers has."""

from typing import Any, ClassVar

import numpy as np
from transformers import AutoImageProcessor, BatchFeature, PreTrainedConfig
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs


class OpenClipImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]  # a TypedDict
    """Keyword arguments of [`OpenClipImageProcessor`].

    Args:
        fill_color: value from 0 to 255 of all channels of the added pixels.
    """

    fill_color: int


class OpenClipImageProcessor(PilBackend):
    """Fit images into a square without cropping them, as open_clip does with `resize_mode` "longest".

    The longer side is resized to the side of the square with PIL's interpolation. The rest is filled with one colour,
    the same amount on both sides; a single remaining pixel goes to the right or the bottom.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import OpenClipImageProcessor
        >>> processor = OpenClipImageProcessor(size={"height": 224, "width": 224})
        >>> processor(Image.new("RGB", (64, 48)), return_tensors="pt").pixel_values.shape
        torch.Size([1, 3, 224, 224])

        ```
    """

    resample = PILImageResampling.BICUBIC
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    fill_color: int = 0
    """Value from 0 to 255 of all channels of the added pixels."""
    valid_kwargs = OpenClipImageProcessorKwargs

    def _fit(
        self, image: np.ndarray, size: SizeDict, resample: PILImageResampling | None, fill_color: int
    ) -> np.ndarray:
        """Resize an image, (channels, height, width), to fit into a rectangle, and fill the rest of the rectangle."""
        height, width = image.shape[1:]
        ratio = max(height / size.height, width / size.width)
        fitted = SizeDict(height=max(round(height / ratio), 1), width=max(round(width / ratio), 1))
        rows, columns = size.height - fitted.height, size.width - fitted.width
        margins = ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
        return np.pad(self.resize(image, fitted, resample), margins, constant_values=fill_color)

    def _preprocess(
        self,
        images: list[np.ndarray],
        do_resize: bool,
        size: SizeDict,
        resample: PILImageResampling | None,
        fill_color: int,
        **kwargs: Any,
    ) -> BatchFeature:
        if do_resize:
            images = [self._fit(image, size, resample, fill_color) for image in images]
        return super()._preprocess(images, do_resize=False, size=size, resample=resample, **kwargs)


class OpenClipImageProcessorConfig(PreTrainedConfig):
    """Key of [`OpenClipImageProcessor`] in the registry of `AutoImageProcessor`, which has one per model type.

    A converted model is a plain `CLIPModel`, whose entry in the registry is transformers' own.
    """

    model_type = "open_clip_image_processor"


# Only the PIL backend, even if torchvision is installed and would be preferred: its interpolation differs.
_backends = dict.fromkeys(("pil", "torchvision"), OpenClipImageProcessor)
AutoImageProcessor.register(OpenClipImageProcessorConfig, image_processor_classes=_backends, exist_ok=True)
