"""Processor for zero-shot CLIP prompts."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class ClipZeroShotProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from hf_prompt_models import ClipZeroShotForImageClassification, ClipZeroShotProcessor
        >>> from hf_prompt_models.playground import draw_example
        >>> processor = ClipZeroShotProcessor.from_backbone("playground")
        >>> model = ClipZeroShotForImageClassification.from_backbone("playground", ["a key", "a cup"])
        >>> inputs = processor(images=draw_example("key", "test", seed=0, index=0), return_tensors="pt")
        >>> model.config.id2label[model(**inputs).logits.argmax().item()]
        'a key'

        ```
    """


__all__ = ["ClipZeroShotProcessor"]
