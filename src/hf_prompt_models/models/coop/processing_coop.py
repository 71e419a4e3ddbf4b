"""Processor for CoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class CoOpProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import CoOpProcessor
        >>> processor = CoOpProcessor.from_backbone("playground")
        >>> processor(images=Image.new("RGB", (64, 48), "red"), return_tensors="pt").pixel_values.shape
        torch.Size([1, 3, 48, 48])

        ```
    """


__all__ = ["CoOpProcessor"]
