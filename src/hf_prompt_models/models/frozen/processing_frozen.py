"""Processor for Frozen."""

import os
from typing import Any, Self

from PIL import Image, ImageOps

from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor


class FrozenProcessor(PrefixLMProcessor):
    """Turn texts with images into prompts, and answers into labels after the prompts.

    Images are padded with black to a square and then resized, so that no part is cropped (section 4 of the paper).

    Args:
        image_processor: as in [`PrefixLMProcessor`].
        tokenizer: as in [`PrefixLMProcessor`].
        num_image_tokens: number of slots that an image takes.
        max_positions: as in [`PrefixLMProcessor`].
        blind: as in [`PrefixLMProcessor`].
    """

    default_vision_model = "microsoft/resnet-50"

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 2,
        max_positions: int | None = None,
        blind: bool = False,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, num_image_tokens, max_positions, blind, **kwargs)

    @classmethod
    def from_backbone(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None = None,
        num_image_tokens: int = 2,
        **kwargs: Any,
    ) -> Self:
        """Load the tokenizer and the image processor, as in [`PrefixLMProcessor`].

        Example:
            ```python
            >>> from PIL import Image
            >>> from hf_prompt_models import FrozenProcessor
            >>> processor = FrozenProcessor.from_backbone("playground", num_image_tokens=2)
            >>> image = Image.new("RGB", (64, 48))
            >>> processor(images=[image], text=["a red"], suffix=["key"], return_tensors="pt").labels
            tensor([[-100, -100, -100, -100,  450,    0]])

            ```
        """
        return super().from_backbone(language_model, vision_model, num_image_tokens, **kwargs)

    def _prepare_image(self, image: Image.Image) -> Image.Image:
        side = max(image.size)
        square = ImageOps.pad(image, (side, side), color=(0, 0, 0))
        return square.resize((self._side, self._side), Image.Resampling.BICUBIC)

    @property
    def _side(self) -> int:
        """Height and width of the images that the vision backbone takes."""
        size = self.image_processor.size
        if self.image_processor.do_center_crop:
            size = self.image_processor.crop_size
        return size.height or size.shortest_edge

    def _image_options(self) -> set[str]:
        # Size settings are left out because `_prepare_image` has already resized the image for the vision backbone.
        return super()._image_options() - {"do_resize", "size", "crop_size", "resample", "default_to_square"}

    def _process_images(self, pictures: list[Image.Image], **options: Any) -> Any:
        return self.image_processor(pictures, do_resize=False, return_tensors="pt", **options)["pixel_values"]


__all__ = ["FrozenProcessor"]
