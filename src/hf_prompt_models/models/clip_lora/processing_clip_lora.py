"""Processor for CLIP-LoRA."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ClipLoraProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models import ClipLoraProcessor
        >>> processor = ClipLoraProcessor.from_backbone("playground")
        >>> processor(images=np.zeros((64, 48, 3), dtype=np.uint8), return_tensors="pt").pixel_values.shape
        torch.Size([1, 3, 48, 48])

        ```
    """


__all__ = ["ClipLoraProcessor"]
