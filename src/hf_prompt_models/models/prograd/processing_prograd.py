"""Processor for ProGrad."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ProGradProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["ProGradProcessor"]
