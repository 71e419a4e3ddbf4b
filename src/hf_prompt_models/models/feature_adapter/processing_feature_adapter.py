"""Processor for feature adapters."""

from hf_prompt_models.processing_utils import ClipPromptProcessor


class FeatureAdapterProcessor(ClipPromptProcessor):
    """Convert images to `pixel_values` and class names to tokens.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import FeatureAdapterForImageClassification, FeatureAdapterProcessor
        >>> processor = FeatureAdapterProcessor.from_backbone("playground")
        >>> model = FeatureAdapterForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
        >>> images = processor(images=[Image.new("RGB", (64, 48), "red")], return_tensors="pt")
        >>> model.get_image_features(**images).pooler_output.shape
        torch.Size([1, 64])

        ```
    """


__all__ = ["FeatureAdapterProcessor"]
