"""Processor of anchored prompts."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class AnchoredProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""
