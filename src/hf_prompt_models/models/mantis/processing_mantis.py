"""Processor for MAnTiS."""

from typing import Any, ClassVar, Literal

from hf_prompt_models.prefix_lm.processing_prefix_lm import IMAGE_TOKEN, PrefixLMProcessor


SEPARATOR_TOKEN = "<sep>"


class MantisProcessor(PrefixLMProcessor):
    """Turn images and titles into prompts, `image slots, title, <sep>`, and descriptions into labels after them.

    Args:
        image_processor: as in [`PrefixLMProcessor`].
        tokenizer: as in [`PrefixLMProcessor`].
        num_image_tokens: as in [`PrefixLMProcessor`].
        max_positions: as in [`PrefixLMProcessor`].
        blind: as in [`PrefixLMProcessor`].
        condition_on: `"both"`, or, for ablations, only the `"images"` or only the `"title"` of each example.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import MantisProcessor
        >>> processor = MantisProcessor.from_backbone("playground")
        >>> inputs = processor(images=[Image.new("RGB", (64, 48))], text=["red key"], return_tensors="pt")
        >>> processor.batch_decode(inputs.input_ids)
        ['<image> red key<sep>']

        ```
    """

    default_vision_model = "microsoft/resnet-152"
    own_tokens: ClassVar[dict[str, str]] = {"image_token_id": IMAGE_TOKEN, "separator_token_id": SEPARATOR_TOKEN}

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 1,
        max_positions: int | None = None,
        blind: bool = False,
        condition_on: Literal["both", "images", "title"] = "both",
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, num_image_tokens, max_positions, blind, **kwargs)
        if condition_on not in ("both", "images", "title"):
            raise ValueError(f"Expected condition_on to be 'both', 'images' or 'title', got {condition_on!r}.")
        self.condition_on = condition_on

    def _prepare_example(self, index: int, text: str, images: list[Any]) -> tuple[str, list[Any]]:
        if SEPARATOR_TOKEN in text:
            raise ValueError(
                f"The title of example {index} contains {SEPARATOR_TOKEN}, which the processor adds. Remove it."
            )
        if self.condition_on == "images":
            text = IMAGE_TOKEN * text.count(IMAGE_TOKEN)
        elif self.condition_on == "title":
            text, images = text.replace(IMAGE_TOKEN, ""), []
        return text, images

    def _end_of_prompt(self) -> list[int]:
        return [self.tokenizer.convert_tokens_to_ids(SEPARATOR_TOKEN)]


__all__ = ["SEPARATOR_TOKEN", "MantisProcessor"]
