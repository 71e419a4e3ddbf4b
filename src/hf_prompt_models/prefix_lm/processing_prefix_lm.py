"""Base processor of the methods over a language model, which turns texts and images into model inputs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image
from transformers import (
    AddedToken,
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    BatchFeature,
)

from hf_prompt_models.backbones.packaged import CLIP_DIR, LM_DIR, locate_backbone, vision_model_for
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, load_image
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.processing_utils import PromptProcessor, sort_options
from hf_prompt_models.utils.describing import describe_value


IMAGE_TOKEN = "<image>"
IGNORED = -100
"""Label of tokens that the loss ignores."""


TEXT_DEFAULTS = {
    "padding": False,
    "padding_side": None,
    "truncation": False,
    "max_length": None,
    "add_special_tokens": True,
    "return_tensors": None,
}
"""Text settings of a call, with their defaults."""


class PrefixLMProcessor(PromptProcessor):
    """An image processor for the vision backbone, and the language model's tokenizer with the method's special tokens.

    Args:
        image_processor: image processor of the vision backbone.
        tokenizer: tokenizer of the language model. It needs an end token and a padding token.
        num_image_tokens: number of slots that an image takes.
        max_positions: number of tokens that the language model can read. `None`: there is no limit.
        blind: whether to replace every image with a black one, for baselines that see no image.

    Raises:
        ValueError: if the tokenizer has no end token or no padding token.
    """

    default_vision_model: ClassVar[str]
    own_tokens: ClassVar[dict[str, str]] = {"image_token_id": IMAGE_TOKEN}
    """The method's special tokens, by the configuration field that stores their id."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 1,
        max_positions: int | None = None,
        blind: bool = False,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, **kwargs)
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"The tokenizer {tokenizer.name_or_path!r} has no end token (eos_token), which marks the end "
                "of a text. Set tokenizer.eos_token to the token that the language model was trained with."
            )
        if tokenizer.pad_token_id is None:
            raise ValueError(
                f"The tokenizer {tokenizer.name_or_path!r} has no padding token (pad_token). Set "
                "tokenizer.pad_token = tokenizer.eos_token, as from_backbone does; padding is masked."
            )
        tokens = [AddedToken(token, special=True, normalized=False) for token in self.own_tokens.values()]
        tokenizer.add_tokens(tokens, special_tokens=True)
        tokenizer.padding_side = "left"  # as in pipelines; this is not saved with the tokenizer
        self.num_image_tokens = num_image_tokens
        self.max_positions = max_positions
        self.blind = blind
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        # Only special tokens in front of a text are used. Special tokens after it could end the text too early.
        encoded = tokenizer("a", return_special_tokens_mask=True)
        self._start_ids = encoded["input_ids"][: encoded["special_tokens_mask"].index(0)]

    @classmethod
    def from_backbone(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None = None,
        num_image_tokens: int = 1,
        **kwargs: Any,
    ) -> Self:
        """Load the language model's tokenizer and the vision backbone's image processor.

        If the tokenizer has no padding token, its end token is used. Images are processed with PIL even if torchvision
        is installed because the interpolation of torchvision differs slightly.

        Args:
            language_model: Hub id or folder; "playground" is the tiny language model in this package.
            vision_model: Hub id or folder; "playground" is the tiny CLIP in this package. Default: as in the model's
                `from_backbone`.
            num_image_tokens: number of slots that an image takes.
            kwargs: loading arguments such as `token` and `cache_dir`. `revision` applies to the language model.
        """
        vision_model = vision_model_for(language_model, vision_model, cls.default_vision_model)
        language_model = locate_backbone(language_model, LM_DIR)
        vision_model = locate_backbone(vision_model, CLIP_DIR)
        check_reachable(language_model, **kwargs)
        vision_kwargs = {name: value for name, value in kwargs.items() if name not in ("revision", "subfolder")}
        check_reachable(vision_model, **vision_kwargs)
        image_processor = AutoImageProcessor.from_pretrained(vision_model, backend="pil", **vision_kwargs)
        tokenizer = AutoTokenizer.from_pretrained(language_model, **kwargs)
        tokenizer.chat_template = None  # the language model's template does not support images
        if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token
        text_config = AutoConfig.from_pretrained(language_model, **kwargs).get_text_config()
        max_positions = getattr(text_config, "max_position_embeddings", None)  # ALiBi models have no limit
        return cls(image_processor, tokenizer, num_image_tokens=num_image_tokens, max_positions=max_positions)

    # -- overridden by subclasses ------------------------------------------------------------------------------------

    def _end_of_prompt(self) -> list[int]:
        """Return the token ids between the text and the generated text."""
        return []

    def _prepare_example(self, index: int, text: str, images: list[Any]) -> tuple[str, list[Any]]:
        """Return the text and the images of an example that the model reads."""
        return text, images

    def _prepare_image(self, image: Image.Image) -> Image.Image:
        """Return an RGB image as the image processor is to get it."""
        return image

    # -- calling -----------------------------------------------------------------------------------------------------

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        suffix: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Turn examples into model inputs: a prompt each, followed by the text to generate if `suffix` is given.

        Args:
            images: a list of images per example (`[[a, b], [], [c]]`), in any format that `load_image` opens. A flat
                list is assigned to the placeholders in order. Without placeholders it belongs to the only text, or one
                image belongs to each text.
            text: a text per example, which may be empty. `<image>` marks the position of an image. If a text has no
                placeholder, its images are put in front. Default: empty texts.
            suffix: the texts that the model is trained to generate. The end token is added to each.
            kwargs: settings, passed directly or, as in every transformers processor, in `text_kwargs`, `images_kwargs`
                and `common_kwargs`. For images: the settings of the image processor, such as `do_rescale`. For texts:

                - `padding`: `True` or `"longest"` pads to the longest example, `"max_length"` pads to `max_length`.
                - `padding_side`: `"left"`, for generation, or `"right"`. Default: right with `suffix`, else left.
                - `truncation`: truncate texts that are longer than `max_length` or than the language model's
                  positions. Image slots are never truncated.
                - `max_length`: length in tokens.
                - `add_special_tokens`: `False` leaves out the special tokens in front of a text.
                - `return_tensors`: `"pt"` for tensors.

        Returns:
            `input_ids` and `attention_mask`, (batch, length). With images, `pixel_values`, (images, 3, height, width),
            one row for each image of the batch. With `suffix`, `labels`, (batch, length), which are -100 except for
            the suffixes and their end tokens.

        Raises:
            ValueError: if the numbers of images and placeholders differ, a suffix is empty, or a text is too long.
            TypeError: for an unknown setting.
            UnreadableImageError: if a file cannot be decoded; the message names the file.
        """
        options, image_options = sort_options(kwargs, TEXT_DEFAULTS, self._image_options())
        truncation, max_length = options["truncation"], options["max_length"]
        examples = [
            self._prepare_example(index, each, pictures)
            for index, (each, pictures) in enumerate(zip(*_arrange(images, text), strict=True))
        ]
        texts = [self._place_images(index, each, len(own)) for index, (each, own) in enumerate(examples)]
        suffixes = [None] * len(texts) if suffix is None else [suffix] if isinstance(suffix, str) else list(suffix)
        if len(suffixes) != len(texts):
            raise ValueError(
                f"Expected one suffix per example, got {len(suffixes)} suffixes for {len(texts)} examples."
            )
        limits = [self.max_positions, max_length if truncation else None]
        limit = min((limit for limit in limits if limit is not None), default=None)
        rows = [
            self._tokenize(index, each, suffix, limit, truncation, options["add_special_tokens"])
            for index, (each, suffix) in enumerate(zip(texts, suffixes, strict=True))
        ]
        side = options["padding_side"] or ("left" if suffix is None else "right")
        length = _padded_length([len(ids) for ids, _ in rows], options["padding"], max_length)
        data: dict[str, Any] = {
            "input_ids": [_pad(ids, self.tokenizer.pad_token_id, length, side) for ids, _ in rows],
            "attention_mask": [_pad([1] * len(ids), 0, length, side) for ids, _ in rows],
        }
        if suffix is not None:
            labels = [[IGNORED] * prompt + ids[prompt:] for ids, prompt in rows]
            data["labels"] = [_pad(row, IGNORED, length, side) for row in labels]
        pictures = [self._read_image(image) for _, own in examples for image in own]
        if pictures:
            data["pixel_values"] = self._process_images(pictures, **image_options)
        return BatchFeature(data, tensor_type=options["return_tensors"])

    def _image_options(self) -> set[str]:
        """Return the settings of the image processor that a call may change."""
        return {*self.image_processor.valid_kwargs.__annotations__} - {"return_tensors", "device"}

    def check_prompt(self, index: int, text: str, num_images: int, max_new_tokens: int) -> None:
        """Check that a prompt and the text to generate fit into the language model.

        Args:
            index: index of the example, for error messages.
            text: text of the prompt.
            num_images: number of images of the prompt.
            max_new_tokens: greatest number of tokens to generate.

        Raises:
            ValueError: if the prompt is too long, or the numbers of placeholders and images differ.
        """
        ids = self._example_ids(index, text, num_images)
        if self.max_positions is not None and len(ids) + max_new_tokens > self.max_positions:
            raise ValueError(
                f"Example {index} has {len(ids)} tokens, of which {ids.count(self.image_token_id)} are image slots. "
                f"With {max_new_tokens} new tokens, this exceeds the {self.max_positions} positions of the language "
                "model: shorten its text, pass fewer images or examples, or lower max_new_tokens."
            )

    def example_length(self, index: int, text: str, num_images: int, suffix: str | None = None) -> int:
        """Return the number of tokens of an example before truncation, including image slots and suffix."""
        return len(self._example_ids(index, text, num_images, suffix))

    def _example_ids(self, index: int, text: str, num_images: int, suffix: str | None = None) -> list[int]:
        text, images = self._prepare_example(index, text, [None] * num_images)
        return self._tokenize(index, self._place_images(index, text, len(images)), suffix, None, False)[0]

    def _place_images(self, index: int, text: str, count: int) -> str:
        """Return the text with a placeholder for each slot of its images; without placeholders, images go in front."""
        typed = text.count(IMAGE_TOKEN)
        if typed == 0:
            text = IMAGE_TOKEN * count + text
        elif typed != count:
            raise ValueError(
                f"Example {index} has {count} images and {typed} placeholders {IMAGE_TOKEN} in its text. "
                "Write one placeholder per image, or none."
            )
        return text.replace(IMAGE_TOKEN, IMAGE_TOKEN * self.num_image_tokens)

    def _tokenize(
        self,
        index: int,
        text: str,
        suffix: str | None,
        limit: int | None,
        truncation: bool,
        add_special_tokens: bool = True,
    ) -> tuple[list[int], int]:
        """Return the token ids of an example, and how many of them belong to the prompt."""
        start = self._start_ids if add_special_tokens else []
        tokens, end = start + self._token_ids(text), self._end_of_prompt()
        suffix_ids = [] if suffix is None else self._suffix_ids(index, suffix)
        total = len(tokens) + len(end) + len(suffix_ids)
        if limit is not None and total > limit:
            slots, excess = tokens.count(self.image_token_id), total - limit
            if not truncation:
                raise ValueError(
                    f"Example {index} has {total} tokens, of which {slots} are image slots, but the language "
                    f"model has {limit} positions. Shorten its text, or pass truncation=True."
                )
            # The end of the suffix is cut first, down to one token; then the end of the text is cut.
            kept = max(len(suffix_ids) - excess, min(len(suffix_ids), 1))
            room = limit - len(end) - kept
            tokens, suffix_ids = tokens[: max(room, 0)], suffix_ids[:kept]
            if room < 0 or tokens.count(self.image_token_id) < slots:
                raise ValueError(
                    f"Example {index} does not fit into {limit} tokens even without its text, because its "
                    f"{slots} image slots are never truncated. Pass fewer images, or a larger max_length."
                )
        prompt = tokens + end
        return prompt + suffix_ids, len(prompt)

    def _suffix_ids(self, index: int, suffix: str) -> list[int]:
        if not suffix.strip():
            raise ValueError(
                f"The suffix of example {index} is empty, so there is nothing to train on. Leave the example out."
            )
        for token in self.own_tokens.values():
            if token in suffix:
                raise ValueError(
                    f"The suffix of example {index} contains {token}, which is never generated. Remove it."
                )
        return [*self._token_ids(suffix), self.tokenizer.eos_token_id]

    def _token_ids(self, text: str) -> list[int]:
        # verbose=False: long texts are truncated or rejected here, so the tokenizer's warning is not needed.
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []

    # -- images ------------------------------------------------------------------------------------------------------

    def _read_image(self, image: Any) -> Image.Image:
        try:
            image = load_image(image)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return self._prepare_image(Image.new("RGB", image.size) if self.blind else image)

    def _process_images(self, pictures: list[Image.Image], **options: Any) -> Any:
        return self.image_processor(pictures, return_tensors="pt", **options)["pixel_values"]


def _arrange(images: Any, text: str | Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    """Return a text and a list of images for each example."""
    if images is not None and _is_image(images):
        images = [images]
    nested = images is not None and any(not _is_image(image) for image in images)
    if text is None:
        if images is None:
            raise ValueError("Got neither images nor text. Pass one of them or both.")
        texts = [""] * len(images)
    else:
        texts = [text] if isinstance(text, str) else list(text)
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("Expected a string or a list of strings as text.")
    if images is None:
        for index, each in enumerate(texts):
            if Path(each).suffix.lower() in IMAGE_SUFFIXES and not re.search(r"\s", each):
                raise ValueError(
                    f"Text {index}, {each!r}, is the name of an image, but no images were passed. Pass images=... "
                    "with a text, which may be empty; call pipelines as pipe(images=..., text='')."
                )
        return texts, [[] for _ in texts]
    if nested:
        lists = [[image] if _is_image(image) else list(image) for image in images]
    else:
        lists = _deal_out(list(images), [each.count(IMAGE_TOKEN) for each in texts])
    if len(lists) != len(texts):
        raise ValueError(
            f"Expected one text per list of images, got {len(texts)} texts and {len(lists)} lists. Pass an "
            "empty list for a text without images."
        )
    return texts, lists


def _is_image(value: Any) -> bool:
    return not isinstance(value, list | tuple)


def _deal_out(images: list[Any], placeholders: list[int]) -> list[list[Any]]:
    """Assign a flat list of images to texts, by the number of placeholders if there are any."""
    if not any(placeholders):
        return [images] if len(placeholders) == 1 else [[image] for image in images]
    if sum(placeholders) != len(images):
        raise ValueError(
            f"There are {len(images)} images and {sum(placeholders)} placeholders {IMAGE_TOKEN} in the texts. "
            "Write one placeholder per image, or none."
        )
    remaining = iter(images)
    return [[next(remaining) for _ in range(count)] for count in placeholders]


def _padded_length(lengths: list[int], padding: bool | str, max_length: int | None) -> int:
    """Return the length to pad to, or 0 for no padding."""
    if padding is False or padding == "do_not_pad":
        return 0
    if padding == "max_length":
        if max_length is None:
            raise ValueError("padding='max_length' needs max_length. Pass max_length=... in tokens.")
        return max_length
    if padding not in (True, "longest"):
        raise ValueError(
            f"Expected padding to be True, False, 'longest' or 'max_length', got {describe_value(padding)}."
        )
    return max(lengths)


def _pad(row: list[int], value: int, length: int, side: str) -> list[int]:
    padding = [value] * (length - len(row))
    return padding + row if side == "left" else row + padding


__all__ = ["IMAGE_TOKEN", "PrefixLMProcessor"]
