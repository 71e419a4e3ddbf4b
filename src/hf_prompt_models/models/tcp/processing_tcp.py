"""Processor for TCP."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class TCPProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import TCPProcessor
        >>> processor = TCPProcessor.from_backbone("playground")
        >>> processor(text=["red key.", "blue cup."], return_tensors="pt").input_ids.shape
        torch.Size([2, 5])

        ```
    """


__all__ = ["TCPProcessor"]
