"""Prompts with words as answers: what a region is, and how two regions are related (CPT, §3.2 and §4)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.models.cpt.adapters_cpt import ADAPTERS
from hf_prompt_models.models.cpt.processing_cpt_base import (
    MASK,
    Copy,
    CptBaseProcessor,
    RegionFeatures,
    clean_phrase,
    encode_sentence,
    find_regions,
    pad_sentences,
    single_piece,
)
from hf_prompt_models.prompts.colors import Color, PixelBox, paint_regions
from hf_prompt_models.utils.padding import pad_stack


REGION_TEMPLATE = "the [MASK] is in {} color."
RELATION_TEMPLATE = "{subject} in {subject_color} color is [MASK] a {object} in {object_color} color"
"""Template of the released code, without a full stop."""

Copies = tuple[list[list[Copy]], list[list[PixelBox]], list[tuple[int, int]]]
"""The copies of each example, the boxes of its regions, and its image's width and height."""


class CptWordProcessor(CptBaseProcessor):
    """Base of [`CptProcessor`]: inputs for region classification, relation detection and the search for colours.

    Attributes:
        colors: (name, rgb) pairs in order.
        alpha: opacity of a colour, out of 255.
    """

    colors: list[Color]
    alpha: int

    def for_region_classification(
        self,
        images: Any,
        num_blanks: Sequence[int],
        boxes: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        template: str = REGION_TEMPLATE,
        labels: Sequence[Sequence[int]] | None = None,
        region_features: RegionFeatures | Sequence[Any] | None = None,
    ) -> BatchFeature:
        """Prepare the inputs of [`CptForRegionClassification`]: a copy for each region.

        Args:
            images: a list, as in `CptProcessor.__call__`.
            num_blanks: the model's `num_blanks`, the numbers of tokens that its labels have.
            boxes: a list, as in `CptProcessor.__call__`.
            masks: a list, as in `CptProcessor.__call__`.
            template: a template with `{}` for the colour's name and one `[MASK]`.
            labels: for each example, the class index of each region, -100 for none.
            region_features: as in `CptProcessor.__call__`.

        Raises:
            ValueError: as in `CptProcessor.__call__`.
        """
        copies, boxes, sizes = self._region_copies(images, boxes, masks, template, num_blanks)
        data = self.collate(copies, boxes, sizes, region_features)
        if labels is not None:
            data["labels"] = pad_stack([torch.tensor(of_example) for of_example in labels], -100)
        return BatchFeature(data)

    def for_relation_detection(
        self,
        images: Any,
        names: Sequence[Sequence[str]],
        pairs: Sequence[Sequence[tuple[int, int]]],
        num_blanks: Sequence[int],
        boxes: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        template: str = RELATION_TEMPLATE,
        colors: tuple[str, str] = ("red", "blue"),
        labels: Sequence[Sequence[int]] | None = None,
        region_features: RegionFeatures | Sequence[Any] | None = None,
        truncation: bool = False,
    ) -> BatchFeature:
        """Prepare the inputs of [`CptForRelationDetection`]: a copy for each pair of regions.

        Args:
            images: a list, as in `CptProcessor.__call__`.
            names: for each example, a word for each region, such as "horse".
            pairs: for each example, the (subject, object) pairs of region indices. One copy is used for both
                directions: (0, 1) also covers (1, 0).
            num_blanks: the model's `num_blanks`, the numbers of tokens that its predicates have.
            boxes: a list, as in `CptProcessor.__call__`.
            masks: a list, as in `CptProcessor.__call__`.
            template: a template with one `[MASK]`, `{subject}`, `{object}`, `{subject_color}` and `{object_color}`.
            colors: names of the subject's and the object's colour in the palette.
            labels: for each example, the predicate index from subject to object of each pair, 0 for no relation, -100
                if it is unknown.
            region_features: as in `CptProcessor.__call__`.
            truncation: whether to truncate names, as in `CptProcessor.__call__`.

        Raises:
            ValueError: as in `CptProcessor.__call__`, and for a pair that is not in the example.
        """
        copies, boxes, sizes = self._relation_copies(
            images, boxes, masks, names, pairs, template, num_blanks, colors, truncation
        )
        data = self.collate(copies, boxes, sizes, region_features)
        if labels is not None:
            data["labels"] = pad_stack([torch.tensor(of_example) for of_example in labels], -100)
        return BatchFeature(data)

    def for_words(
        self, images: Sequence[Image.Image], sentence: str, words: Sequence[str]
    ) -> tuple[BatchFeature, list[int]]:
        """Return inputs for predicting a word about complete images, and which of the logits belong to the words.

        Args:
            images: anything that `load_image` opens.
            sentence: a sentence with one `[MASK]`.
            words: words of one token each.

        Raises:
            ValueError: for a sentence without its blank, a word of several tokens, or a backbone that reads regions.
        """
        if sentence.count(MASK) != 1:
            raise ValueError(f"Expected one {MASK} in a sentence about an image, got {sentence!r}.")
        if ADAPTERS[self.backbone_type].reads_regions:
            raise ValueError(
                f"The backbone ({self.backbone_type}) needs features of regions instead of complete images. Use "
                "another backbone."
            )
        if self.matches_sentences:
            filled = [sentence.replace(MASK, word) for word in words]
            texts = [encode_sentence(each, [], self.tokenizer, self.max_length) for each in filled]
            ids = list(range(len(words)))
        else:
            texts = [encode_sentence(sentence, [], self.tokenizer, self.max_length)]
            ids = [single_piece(word, self.tokenizer) for word in words]
        images = [load_image(image) for image in images]
        copies = [[Copy(partial(image.copy), [], texts)] for image in images]
        data = self.collate(
            copies, [[(0, 0, *image.size)] for image in images], [image.size for image in images], None
        )
        if self.matches_sentences:
            data |= pad_sentences([[texts]] * len(images))
        return BatchFeature(data), ids

    def _find_color(self, name: str) -> Color:
        for color in self.colors:
            if color[0] == name:
                return color
        listed = ", ".join(color for color, _ in self.colors)
        raise ValueError(f"There is no colour {name!r} in the palette ({listed}). Choose two of its colours.")

    def _region_copies(
        self,
        images: Sequence[Any],
        boxes: Sequence[Any] | None,
        masks: Sequence[Any] | None,
        template: str,
        num_blanks: Sequence[int],
    ) -> Copies:
        """Return a copy for each region, painted in the first colour, with a sentence for each number of blanks."""
        name, rgb = self.colors[0]
        sentences = [
            encode_sentence(with_blanks(template, count), [name], self.tokenizer, self.max_length)
            for count in num_blanks
        ]
        pictures, regions, region_boxes = find_regions(images, boxes, masks, len(images))
        copies = [
            [
                Copy(partial(paint_regions, picture, [region], [rgb], self.alpha), [number], sentences)
                for number, region in enumerate(of_example)
            ]
            for picture, of_example in zip(pictures, regions, strict=True)
        ]
        return copies, region_boxes, [picture.size for picture in pictures]

    def _relation_copies(
        self,
        images: Sequence[Any],
        boxes: Sequence[Any] | None,
        masks: Sequence[Any] | None,
        names: Sequence[Sequence[str]],
        pairs: Sequence[Sequence[tuple[int, int]]],
        template: str,
        num_blanks: Sequence[int],
        colors: tuple[str, str],
        truncation: bool,
    ) -> Copies:
        """Return a copy for each pair, with the subject in one colour and the object in the other.

        Its sentences are those from subject to object for each number of blanks, then those from object to subject.
        """
        pictures, regions, region_boxes = find_regions(images, boxes, masks, len(images))
        (subject_color, subject_rgb), (object_color, object_rgb) = (self._find_color(name) for name in colors)
        if len(names) != len(pictures) or len(pairs) != len(pictures):
            raise ValueError(
                f"Expected names and pairs for {len(pictures)} examples, got names for {len(names)} and pairs "
                f"for {len(pairs)}."
            )
        copies: list[list[Copy]] = []
        for index, (picture, of_example) in enumerate(zip(pictures, regions, strict=True)):
            if len(names[index]) != len(of_example):
                raise ValueError(
                    f"Example {index} has {len(names[index])} names, but {len(of_example)} regions. Pass one name "
                    "per region."
                )
            words = [clean_phrase(name, self.tokenizer, index) for name in names[index]]
            if not pairs[index]:
                raise ValueError(f"Example {index} has no pairs. Pass at least one.")
            copies.append([])
            for subject, other in pairs[index]:
                if subject == other or not (0 <= subject < len(words) and 0 <= other < len(words)):
                    raise ValueError(
                        f"Example {index}: {(subject, other)} is not a pair of two different regions of {len(words)}."
                    )
                painted = [of_example[subject], of_example[other]]
                paint = partial(paint_regions, picture, painted, [subject_rgb, object_rgb], self.alpha)
                directions = (
                    ((words[subject], subject_color), (words[other], object_color)),
                    ((words[other], object_color), (words[subject], subject_color)),
                )
                sentences = [
                    encode_sentence(
                        in_order(with_blanks(template, count), first[1], second[1]),
                        [first[0], second[0]],
                        self.tokenizer,
                        self.max_length,
                        truncation=truncation,
                    )
                    for first, second in directions
                    for count in num_blanks
                ]
                copies[-1].append(Copy(paint, [subject, other], sentences))
        return copies, region_boxes, [picture.size for picture in pictures]


def with_blanks(template: str, count: int) -> str:
    """Return a template with `count` blanks in place of its one blank."""
    if template.count(MASK) != 1:
        raise ValueError(
            f"Expected one {MASK} in a template, which is repeated for words of several tokens, got {template!r}."
        )
    return template.replace(MASK, " ".join([MASK] * count))


def in_order(template: str, subject_color: str, object_color: str) -> str:
    """Return a relation template with its colours, and `{}` for the subject and the object."""
    filled = template.replace("{subject_color}", subject_color).replace("{object_color}", object_color)
    if filled.count("{subject}") != 1 or filled.count("{object}") != 1 or "{object}" in filled.split("{subject}")[0]:
        raise ValueError(
            f"Expected {{subject}} once and then {{object}} once in a relation template, got {template!r}."
        )
    return filled.replace("{subject}", "{}").replace("{object}", "{}")
