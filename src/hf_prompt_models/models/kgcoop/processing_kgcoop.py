"""Processor for KgCoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class KgCoOpProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["KgCoOpProcessor"]
