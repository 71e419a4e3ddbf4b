"""Processor for MaPLe."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class MaPLeProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["MaPLeProcessor"]
