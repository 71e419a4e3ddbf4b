"""Processor for MMRL."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class MMRLProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["MMRLProcessor"]
