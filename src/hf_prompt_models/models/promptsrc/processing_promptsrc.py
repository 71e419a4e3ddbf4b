"""Processor for PromptSRC."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class PromptSRCProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["PromptSRCProcessor"]
