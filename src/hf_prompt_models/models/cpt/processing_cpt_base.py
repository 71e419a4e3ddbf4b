"""Common parts of CPT's prompts: regions, sentences with a blank, painted copies, and their tensors."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerBase
from transformers.utils import PROCESSOR_NAME

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.models.cpt.adapters_cpt import ADAPTERS
from hf_prompt_models.processing_utils import PromptProcessor, refuse_long_text
from hf_prompt_models.prompts.colors import PixelBox, check_masks, clip_boxes, mask_boxes
from hf_prompt_models.utils.describing import describe_value
from hf_prompt_models.utils.padding import pad_stack


MASK = "[MASK]"
"""The blank in templates, independent of the tokenizer's mask token."""

Region = PixelBox | np.ndarray
"""A box, or a mask (height, width)."""
RegionFeatures = Callable[[Image.Image, list[PixelBox]], Any]
"""A function of a painted image and its regions' boxes that returns an array (regions, dim), one row for each box."""


# -- regions ---------------------------------------------------------------------------------------------------------


def as_pil_image(image: Any, index: int) -> Image.Image:
    """Return an RGB image from anything that `load_image` opens.

    Raises:
        TypeError: for any other value; the message names its index.
        UnreadableImageError: if the image cannot be decoded.
    """
    try:
        return load_image(image)
    except TypeError as error:
        raise TypeError(f"Image {index}: {error} Regions are painted on the pixels of the original image.") from error


def find_regions(
    images: Sequence[Any], boxes: Sequence[Any] | None, masks: Sequence[Any] | None, count: int
) -> tuple[list[Image.Image], list[list[Region]], list[list[PixelBox]]]:
    """Return the images, the regions to paint in each, and the boxes of these regions.

    Args:
        images: as in `CptProcessor.__call__`.
        boxes: as in `CptProcessor.__call__`.
        masks: as in `CptProcessor.__call__`.
        count: number of examples.

    Raises:
        ValueError: for an example without regions, regions that are empty, or counts that differ.
    """
    if boxes is None and masks is None:
        raise ValueError("Boxes or masks are needed. Pass the candidate regions of each image.")
    for name, given in (("images", images), ("boxes", boxes), ("masks", masks)):
        if given is not None and len(given) != count:
            raise ValueError(f"Expected {name} for {count} examples, got {len(given)}. Pass one entry per example.")
    pictures = [as_pil_image(image, index) for index, image in enumerate(images)]
    all_regions: list[list[Region]] = []
    all_boxes: list[list[PixelBox]] = []
    for index, picture in enumerate(pictures):
        try:
            of_boxes = None if boxes is None else clip_boxes(boxes[index], picture.size)
            of_masks = None if masks is None else check_masks(masks[index], picture.size)
        except ValueError as error:
            raise ValueError(f"Example {index}: {error}") from error
        if of_boxes is not None and of_masks is not None and len(of_boxes) != len(of_masks):
            raise ValueError(
                f"Example {index} has {len(of_boxes)} boxes, but {len(of_masks)} masks. Pass one mask per box."
            )
        regions = of_masks if of_masks is not None else of_boxes
        if not regions:
            raise ValueError(f"Example {index} has no regions. Pass at least one box or mask.")
        all_regions.append(list(regions))
        all_boxes.append(of_boxes if of_boxes is not None else mask_boxes(of_masks or []))
    return pictures, all_regions, all_boxes


def assign_colors(num_regions: int, num_colors: int, anchored: bool = False) -> list[list[int]]:
    """Return which regions are painted in each copy, in the order of the colours: ceil(regions / colours) copies.

    With an anchor, the first region is the first in every copy, and the others share the other colours.
    """
    if not anchored:
        return [
            list(range(start, min(start + num_colors, num_regions))) for start in range(0, num_regions, num_colors)
        ]
    others = [
        list(range(start, min(start + num_colors - 1, num_regions))) for start in range(1, num_regions, num_colors - 1)
    ]
    return [[0, *numbers] for numbers in others] or [[0]]


def region_geometry(boxes: Sequence[PixelBox], size: tuple[int, int]) -> torch.Tensor:
    """Return x1/W, y1/H, x2/W, y2/H, (x2 - x1)/W, (y2 - y1)/H of boxes in an image of a given size, (boxes, 6)."""
    corners = torch.tensor(boxes, dtype=torch.float32)
    scale = torch.tensor([*size, *size], dtype=torch.float32)
    return torch.cat([corners / scale, (corners[:, 2:] - corners[:, :2]) / scale[:2]], dim=1)


# -- sentences -------------------------------------------------------------------------------------------------------


def clean_phrase(phrase: str, tokenizer: PreTrainedTokenizerBase, index: int) -> str:
    """Return a phrase without full stops (as in the released code) and with single spaces.

    Raises:
        ValueError: if the phrase is empty or contains the mask token or another special token; the message names its
            index.
    """
    cleaned = " ".join(phrase.replace(".", "").split())
    for token in (MASK, *tokenizer.all_special_tokens):
        if token in phrase or token in cleaned:
            raise ValueError(f"Phrase {index} contains the special token {token!r}: {phrase!r}. Remove the token.")
    if not cleaned:
        raise ValueError(f"Phrase {index} is empty: {phrase!r}. Write a phrase, or leave the example out.")
    return cleaned


def check_template(template: str, num_blanks: int) -> str:
    """Return a template, which must have one `{}` for the phrase and `num_blanks` times `[MASK]`."""
    if template.count("{}") != 1 or template.count(MASK) != num_blanks:
        wanted = f"one {{}} for the phrase and {'one' if num_blanks else 'no'} {MASK}"
        raise ValueError(
            f"A template needs {wanted}, as in '{{}} is in [MASK] color.', got {describe_value(template)}."
        )
    return template


def encode_sentence(
    template: str,
    phrases: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    tags: str | None = None,
    truncation: bool = False,
    cut_tags: list[str] | None = None,
) -> BatchEncoding:
    """Return the token ids of a template filled with phrases.

    Args:
        template: a template with a `{}` for each phrase, and `[MASK]` for blanks.
        phrases: phrases as `clean_phrase` returns them.
        tokenizer: the backbone's tokenizer.
        max_length: number of tokens that the text tower reads, including special tokens.
        tags: a second segment (Oscar's object tags), whose end is truncated before the sentence is.
        truncation: whether to truncate phrases until everything fits, the longest first. The template is never
            truncated.
        cut_tags: list to which tags that do not fit completely are appended.

    Raises:
        ValueError: if the sentence is too long or, with `truncation`, the template alone is too long.
    """
    template = template.replace(MASK, tokenizer.mask_token or MASK)
    sentence = fill_template(template, phrases)
    encoded = tokenizer(sentence, verbose=False)
    if len(encoded.input_ids) > max_length:
        alone = len(tokenizer(fill_template(template, [""] * len(phrases)), verbose=False).input_ids)
        if alone > max_length:
            raise ValueError(
                f"The template {template!r} alone has {alone} tokens, but the text encoder takes "
                f"{max_length}. Write a shorter one."
            )
        if not truncation:
            refuse_long_text("A phrase in its template", " … ".join(phrases), len(encoded.input_ids), max_length)
    ends = [piece_ends(phrase, tokenizer)[:max_length] for phrase in phrases]
    while len(encoded.input_ids) > max_length:
        max(ends, key=len).pop()
        kept = [phrase[: of_phrase[-1]] if of_phrase else "" for phrase, of_phrase in zip(phrases, ends, strict=True)]
        sentence = fill_template(template, kept)
        encoded = tokenizer(sentence, verbose=False)
    if tags and cut_tags is not None and len(tokenizer(sentence, tags, verbose=False).input_ids) > max_length:
        cut_tags.append(tags)
    if tags and len(tokenizer(sentence, "", verbose=False).input_ids) < max_length:
        return tokenizer(sentence, tags, truncation="only_second", max_length=max_length, verbose=False)
    return encoded


def piece_ends(phrase: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the position in characters at which each token of a phrase ends."""
    spans = tokenizer(phrase, add_special_tokens=False, return_offsets_mapping=True, verbose=False).offset_mapping
    return [end for _, end in spans]


def fill_template(template: str, phrases: Sequence[str]) -> str:
    """Return the sentence. Braces in a phrase are ordinary characters."""
    parts = template.split("{}")
    return "".join(part + phrase for part, phrase in zip(parts, [*phrases, ""], strict=True)).strip()


def word_pieces(word: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of one or several words as they are within a sentence, that is after a space.

    Raises:
        ValueError: for a word that the tokenizer does not know.
    """
    pieces = tokenizer(f" {word}", add_special_tokens=False, verbose=False).input_ids
    if not pieces or tokenizer.unk_token_id in pieces:
        raise ValueError(f"The tokenizer of the backbone does not know the word {word!r}. Use another word.")
    return pieces


def single_piece(word: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token id of a word that fills one blank, with a leading space if the vocabulary has it so.

    Raises:
        ValueError: for a word that is several tokens or unknown.
    """
    for written in (f" {word}", word):
        pieces = tokenizer(written, add_special_tokens=False, verbose=False).input_ids
        if len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id:
            return pieces[0]
    raise ValueError(
        f"{word!r} has the tokens {tokenizer.convert_ids_to_tokens(pieces)}, but a word that fills one blank "
        "must be a single token. Use another word."
    )


# -- painted copies --------------------------------------------------------------------------------------------------


@dataclass
class Copy:
    """A painted copy of an image.

    Attributes:
        paint: function that creates the copy. It is called when the copy is prepared for the backbone, because all
            copies of a photo at once would take gigabytes.
        painted: indices of the regions in the copy, in the order of their colours.
        sentences: the sentences for this copy.
    """

    paint: Callable[[], Image.Image]
    painted: list[int]
    sentences: list[BatchEncoding]


def pad_sentences(sentences: Any, mask_id: int | None = None) -> dict[str, torch.Tensor]:
    """Return nested lists of encoded sentences as padded tensors, each (…, tokens).

    Args:
        sentences: lists of lists of lists of encoded sentences.
        mask_id: id of the mask token. Its positions become `mask_positions` (…, blanks), with -1 for fewer blanks.
    """

    def gather(value: Callable[[BatchEncoding], list[int]], padding: int) -> torch.Tensor:
        return pad_stack(
            [
                pad_stack(
                    [pad_stack([torch.tensor(value(encoded)) for encoded in texts], padding) for texts in example],
                    padding,
                )
                for example in sentences
            ],
            padding,
        )

    data = {
        "input_ids": gather(lambda encoded: encoded.input_ids, 0),
        "attention_mask": gather(lambda encoded: encoded.attention_mask, 0),
    }
    if mask_id is not None:
        data["token_type_ids"] = gather(
            lambda encoded: encoded.get("token_type_ids") or [0] * len(encoded.input_ids), 0
        )
        data["mask_positions"] = gather(
            lambda encoded: [place for place, token in enumerate(encoded.input_ids) if token == mask_id], -1
        )
    return data


class CptBaseProcessor(PromptProcessor):
    """Base of [`CptProcessor`]: loading and saving, and painted copies as tensors.

    Args:
        image_processor: the backbone's image processor; `None` for backbones that read region features.
        tokenizer: the backbone's tokenizer.
        backbone_type: the backbone's `model_type`.
        max_length: number of tokens that the backbone reads.
        image_side: side of the square that the backbone takes, to which an image is resized without cropping, or
            `None`.
        kwargs: arguments of every processor.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        backbone_type: str = "vilt",
        max_length: int = 40,
        image_side: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, **kwargs)
        self.backbone_type = backbone_type
        self.max_length = max_length
        self.image_side = image_side

    @property
    def matches_sentences(self) -> bool:
        """Whether the backbone compares images with complete sentences, as CLIP does."""
        return ADAPTERS[self.backbone_type].matches_sentences

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Check an argument as in transformers, and accept a missing image processor."""
        if argument is not None:
            return super().check_argument_for_proper_class(argument_name, argument)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, processor_dict: dict | None = None, **kwargs: Any
    ) -> list[Any]:
        if not processor_dict:
            raise OSError(f"There is no {PROCESSOR_NAME} in {str(pretrained_model_name_or_path)!r}.")
        if ADAPTERS[processor_dict["backbone_type"]].reads_regions:
            return [None, AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **kwargs)]
        return super()._get_arguments_from_pretrained(pretrained_model_name_or_path, processor_dict, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save the processor, also if it has no image processor."""
        if self.image_processor is not None:
            return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        if push_to_hub:
            raise ValueError("Cannot push while saving. Save first, then call push_to_hub(repo_id) on the processor.")
        os.makedirs(save_directory, exist_ok=True)
        self.tokenizer.save_pretrained(save_directory)
        self.to_json_file(os.path.join(save_directory, PROCESSOR_NAME))

    def collate(
        self,
        examples: list[list[Copy]],
        boxes: list[list[PixelBox]],
        sizes: list[tuple[int, int]],
        region_features: RegionFeatures | Sequence[Any] | None,
        **image_options: Any,
    ) -> dict[str, torch.Tensor]:
        """Return padded tensors of all copies: images, sentences, and masks of the padding.

        Args:
            examples: the copies of each example.
            boxes: the boxes of each example's regions.
            sizes: width and height of the original images.
            region_features: as in `__call__`.
            image_options: settings of the image processor.
        """
        data = {
            "copy_mask": pad_stack([torch.ones(len(copies), dtype=torch.long) for copies in examples]),
            "region_mask": pad_stack([torch.ones(len(of_example), dtype=torch.long) for of_example in boxes]),
        }
        if ADAPTERS[self.backbone_type].reads_regions:
            features = self._region_features(examples, boxes, region_features)
            data["region_features"] = pad_stack(features)
            geometry = [region_geometry(of_example, size) for of_example, size in zip(boxes, sizes, strict=True)]
            data["region_geometry"] = pad_stack(geometry)
        else:
            pixels = [torch.cat([self._pixels(copy.paint(), **image_options) for copy in each]) for each in examples]
            data["pixel_values"] = pad_stack(pixels)
            data["image_sizes"] = torch.tensor([list(tensor.shape[2:]) for tensor in pixels])
        if not self.matches_sentences:
            mask_id = self.tokenizer.mask_token_id
            data |= pad_sentences([[copy.sentences for copy in copies] for copies in examples], mask_id)
        return data

    def _image_options(self) -> set[str]:
        """Return the settings of the image processor that a call may change: those that keep the size of images."""
        if self.image_processor is None:  # the backbone reads region features instead of pixels
            return set()
        fixed = {"do_resize", "size", "resample", "do_center_crop", "crop_size", "do_pad", "pad_size"}
        return {*self.image_processor.valid_kwargs.__annotations__} - fixed - {"return_tensors", "device"}

    def _pixels(self, picture: Image.Image, **options: Any) -> torch.Tensor:
        """Return pixel values (1, 3, height, width).

        For a backbone with square inputs, the image is squeezed, because cropping could remove regions.
        """
        if self.image_side is not None:
            squeezed = picture.resize((self.image_side, self.image_side), Image.Resampling.BICUBIC)
            as_it_is = {"do_resize": False, "do_center_crop": False}
            return self.image_processor(squeezed, **as_it_is, return_tensors="pt", **options)["pixel_values"]
        try:
            return self.image_processor(picture, return_tensors="pt", **options)["pixel_values"]
        except ValueError as error:
            raise ValueError(
                f"The image processor cannot prepare an image of {picture.width} x {picture.height} pixels ({error}). "
                "If the image is much longer than wide, it has no patch left after resizing; crop it."
            ) from error

    def _region_features(
        self, examples: list[list[Copy]], boxes: list[list[PixelBox]], given: RegionFeatures | Sequence[Any] | None
    ) -> list[torch.Tensor]:
        """Return the region features of each example, (copies, regions, dim)."""
        if given is None:
            raise ValueError(
                f"The backbone ({self.backbone_type}) needs features of regions instead of pixels. Pass "
                "region_features=, a function of a painted image and the boxes of its regions, or arrays for "
                "each copy of each example."
            )
        features = []
        for index, (copies, of_example) in enumerate(zip(examples, boxes, strict=True)):
            arrays = [given(copy.paint(), of_example) for copy in copies] if callable(given) else given[index]
            tensors = [torch.as_tensor(np.asarray(array), dtype=torch.float32) for array in arrays]
            shapes = {tuple(tensor.shape) for tensor in tensors}
            if len(tensors) != len(copies) or len(shapes) != 1 or next(iter(shapes))[:-1] != (len(of_example),):
                raise ValueError(
                    f"Expected {len(copies)} arrays of region features for example {index}, one per copy, of shape "
                    f"({len(of_example)} regions, dim), got {len(tensors)} arrays of the shapes {sorted(shapes)}."
                )
            features.append(torch.stack(tensors))
        return features


def tags_of(tags: Sequence[Sequence[str]] | None, index: int, count: int) -> Sequence[str] | None:
    """Return the tags of one example, or `None` if there are no tags.

    Args:
        tags: for each example, a word for each region, or `None`.
        index: index of the example.
        count: number of its regions.

    Raises:
        ValueError: if the example has another number of tags.
    """
    if tags is None:
        return None
    if len(tags[index]) != count:
        raise ValueError(f"Example {index} has {len(tags[index])} tags, but {count} regions. Pass one tag per region.")
    return tags[index]


def fill_up(numbers: list[int], length: int) -> list[int]:
    """Pad a list of numbers with -1."""
    return numbers + [-1] * (length - len(numbers))
