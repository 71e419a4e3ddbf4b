"""Processor for feature adapters."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class FeatureAdapterProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens."""


__all__ = ["FeatureAdapterProcessor"]
