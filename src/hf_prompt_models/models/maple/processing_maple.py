"""Processor for MaPLe."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class MaPLeProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import MaPLeForImageClassification, MaPLeProcessor
        >>> names = ["a red key", "a blue cup"]
        >>> model = MaPLeForImageClassification.from_backbone("playground", names, prompt_depth=3)
        >>> model.set_classes(["a green bell"], tokenizer=MaPLeProcessor.from_backbone("playground"))
        >>> model.config.id2label
        {0: 'a green bell'}

        ```
    """


__all__ = ["MaPLeProcessor"]
