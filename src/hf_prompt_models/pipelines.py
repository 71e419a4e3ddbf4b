"""The pipelines "image-classification" and "image-text-to-text", which open images as the rest of this package."""

from typing import Any

from transformers import ImageClassificationPipeline, ImageTextToTextPipeline
from transformers.pipelines import SUPPORTED_TASKS

from hf_prompt_models.data.images.loading import load_images
from hf_prompt_models.modeling_utils import PromptPreTrainedModel


class PromptImageClassificationPipeline(ImageClassificationPipeline):
    """The image classification pipeline of transformers, with images opened by `data.images.load_image`.

    An image is a file, a URL, bytes, base64 text, a PIL image, an array or a tensor. Transparent images are put on a
    white background, and images with 16 bits per pixel keep their brightness. Models of other packages work as in
    transformers.
    """

    def preprocess(self, image: Any, timeout: float | None = None) -> Any:
        """Open the images and prepare the inputs of the model."""
        if isinstance(self.model, PromptPreTrainedModel):
            image = load_images(image)
        return super().preprocess(image, timeout=timeout)


class PromptImageTextToTextPipeline(ImageTextToTextPipeline):
    """The image-text-to-text pipeline of transformers, with images opened by `data.images.load_image`.

    Models of other packages work as in transformers.
    """

    def preprocess(self, inputs: Any = None, timeout: float | None = None, **kwargs: Any) -> Any:
        """Open the images and prepare the inputs of the model."""
        if isinstance(self.model, PromptPreTrainedModel) and isinstance(inputs, dict) and "images" in inputs:
            inputs = inputs | {"images": load_images(inputs["images"])}
        return super().preprocess(inputs, timeout=timeout, **kwargs)


def replace_stock_pipelines() -> None:
    """Replace the pipelines of transformers; `register_pipeline` would write the classes into saved configurations."""
    SUPPORTED_TASKS["image-classification"]["impl"] = PromptImageClassificationPipeline
    SUPPORTED_TASKS["image-text-to-text"]["impl"] = PromptImageTextToTextPipeline


__all__ = ["PromptImageClassificationPipeline", "PromptImageTextToTextPipeline"]
