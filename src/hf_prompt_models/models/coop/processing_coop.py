"""Processor for CoOp."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class CoOpProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["CoOpProcessor"]
