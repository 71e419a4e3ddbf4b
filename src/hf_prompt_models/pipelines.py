"""The pipelines "image-classification" and "image-text-to-text", which open images as everything else here does."""

from typing import Any

from transformers import ImageClassificationPipeline, ImageTextToTextPipeline
from transformers.pipelines import SUPPORTED_TASKS

from hf_prompt_models.data.images.loading import load_images
from hf_prompt_models.modeling_utils import PromptPreTrainedModel


class PromptImageClassificationPipeline(ImageClassificationPipeline):
    """transformers' pipeline, which for a model of this package opens images with `data.images.load_image`.

    An image is a file, a link, bytes, base64 text, a PIL image, an array or a tensor. Transparency is seen on white,
    and 16 bits a pixel keep their brightness. For other models it is the stock pipeline.
    """

    def preprocess(self, image: Any, timeout: float | None = None) -> Any:
        if isinstance(self.model, PromptPreTrainedModel):
            image = load_images(image)
        return super().preprocess(image, timeout=timeout)


class PromptImageTextToTextPipeline(ImageTextToTextPipeline):
    """transformers' pipeline, which for a model of this package opens images with `data.images.load_image`."""

    def preprocess(self, inputs: Any = None, timeout: float | None = None, **kwargs: Any) -> Any:
        if isinstance(self.model, PromptPreTrainedModel) and isinstance(inputs, dict) and "images" in inputs:
            inputs = inputs | {"images": load_images(inputs["images"])}
        return super().preprocess(inputs, timeout=timeout, **kwargs)


def replace_stock_pipelines() -> None:
    """Put the pipelines in the stock ones' place; `register_pipeline` would write them into saved configurations."""
    SUPPORTED_TASKS["image-classification"]["impl"] = PromptImageClassificationPipeline
    SUPPORTED_TASKS["image-text-to-text"]["impl"] = PromptImageTextToTextPipeline


__all__ = ["PromptImageClassificationPipeline", "PromptImageTextToTextPipeline"]
