"""Processor for CoCoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class CoCoOpProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["CoCoOpProcessor"]
