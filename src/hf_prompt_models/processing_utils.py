"""The processor that methods over a CLIP or a model like it share."""

import os
from typing import Any, Self

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerBase, ProcessorMixin


class ClipPromptProcessor(ProcessorMixin):
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
            name_or_path: Hub id or folder of the backbone.
            tokenizer: used instead of the backbone's.
            kwargs: `revision`, `token`, `cache_dir`, … for the loading.
        """
        image_processor = AutoImageProcessor.from_pretrained(name_or_path, backend="pil", **kwargs)
        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **kwargs)
        return cls(image_processor, tokenizer)
