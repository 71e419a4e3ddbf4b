"""Processor for ProGrad."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ProGradProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import ProGradProcessor
        >>> files = ProGradProcessor.from_backbone("playground").save_pretrained("processor")
        >>> type(ProGradProcessor.from_pretrained("processor").image_processor).__name__
        'CLIPImageProcessorPil'

        ```
    """


__all__ = ["ProGradProcessor"]
