"""Processor for TCP."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class TCPProcessor(ClipPromptProcessor):
    """Images to `pixel_values`, class names to tokens."""


__all__ = ["TCPProcessor"]
