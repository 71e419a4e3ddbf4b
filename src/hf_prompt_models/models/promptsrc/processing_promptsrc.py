"""Processor for PromptSRC."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class PromptSRCProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import PromptSRCProcessor
        >>> processor = PromptSRCProcessor.from_backbone("playground")
        >>> processor.batch_decode(processor(text=["a red key"]).input_ids)
        ['<|startoftext|>a red key <|endoftext|>']

        ```
    """


__all__ = ["PromptSRCProcessor"]
