"""Processor for IVLP."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class IVLPProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import IVLPProcessor
        >>> processor = IVLPProcessor.from_backbone("playground")
        >>> processor.image_processor.crop_size["height"], processor.tokenizer.model_max_length
        (48, 77)

        ```
    """


__all__ = ["IVLPProcessor"]
