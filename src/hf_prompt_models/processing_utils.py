"""What all methods' processors share, and the one of methods over a CLIP or a model like it."""

import os
from typing import Any, Self

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.data.images import load_images
from hf_prompt_models.packaged_backbones import CLIP_DIR, locate_backbone
from hf_prompt_models.untrusted_checkpoints import reading


class PromptProcessor(ProcessorMixin):
    """Base of all processors here."""

    def prepare_inputs_layout(self, images: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, with images opened by `data.images.load_image`, whatever they are given as.

        With `do_rescale=False` arrays and tensors are taken as they are.
        """
        if images is not None:
            settings = kwargs | kwargs.get("images_kwargs", {})
            images = load_images(images, arrays=settings.get("do_rescale") is not False)
        return super().prepare_inputs_layout(images, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            OSError: if files are missing.
            ValueError: naming the place, if a file does not describe such a processor.
        """
        with reading(pretrained_model_name_or_path, "processor_config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """As in transformers, and what was saved needs no code of the repository that this came from."""
        self.__dict__.pop("auto_map", None)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Nothing: transformers would copy this package's source into saved folders."""


class ClipPromptProcessor(PromptProcessor):
    """An image processor for the image tower's inputs and the backbone's tokenizer for class names.

    Images are prepared by PIL, as the published numbers were (torchvision's interpolation differs slightly).
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any):
        super().__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def from_backbone(
        cls, name_or_path: str | os.PathLike, tokenizer: PreTrainedTokenizerBase | None = None, **kwargs: Any
    ) -> Self:
        """Load the backbone's own image processor and tokenizer.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP in this package.
            tokenizer: used instead of the backbone's.
            kwargs: `revision`, `token`, `cache_dir`, … for the loading.
        """
        name_or_path = locate_backbone(name_or_path, CLIP_DIR)
        image_processor = AutoImageProcessor.from_pretrained(name_or_path, backend="pil", **kwargs)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
        return cls(image_processor, tokenizer)
