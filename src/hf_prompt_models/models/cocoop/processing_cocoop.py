"""Processor for CoCoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class CoCoOpProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import CoCoOpProcessor
        >>> processor = CoCoOpProcessor.from_backbone("playground")
        >>> images = [Image.new("RGB", (64, 48), "red"), Image.new("RGB", (48, 64), "blue")]
        >>> processor(images=images, return_tensors="pt").pixel_values.shape
        torch.Size([2, 3, 48, 48])

        ```
    """


__all__ = ["CoCoOpProcessor"]
