"""Processor for MMRL."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class MMRLProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens."""


__all__ = ["MMRLProcessor"]
