"""Processor for KgCoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class KgCoOpProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import KgCoOpProcessor
        >>> Image.new("RGB", (64, 48), "red").save("key.png")
        >>> processor = KgCoOpProcessor.from_backbone("playground")
        >>> processor(images="key.png", return_tensors="pt").pixel_values.shape
        torch.Size([1, 3, 48, 48])

        ```
    """


__all__ = ["KgCoOpProcessor"]
