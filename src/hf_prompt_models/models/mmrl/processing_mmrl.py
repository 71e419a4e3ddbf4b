"""Processor for MMRL."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class MMRLProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import MMRLForImageClassification
        >>> model = MMRLForImageClassification.from_backbone("playground", ["a red key", "a blue cup"], first_layer=1)
        >>> type(model.processor).__name__
        'MMRLProcessor'

        ```
    """


__all__ = ["MMRLProcessor"]
