"""Processor for IVLP."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class IVLPProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["IVLPProcessor"]
