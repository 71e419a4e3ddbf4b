"""Processor for CLIP-LoRA."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ClipLoraProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens."""


__all__ = ["ClipLoraProcessor"]
