"""Processor for zero-shot CLIP prompts."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ClipZeroShotProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens."""


__all__ = ["ClipZeroShotProcessor"]
