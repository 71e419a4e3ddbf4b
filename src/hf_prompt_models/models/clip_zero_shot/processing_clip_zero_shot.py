"""Processor for zero-shot CLIP prompts."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ClipZeroShotProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["ClipZeroShotProcessor"]
