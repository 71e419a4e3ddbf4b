"""Prompts that ask for words about painted regions: what one is, and what one is to another (CPT, §3.2 and §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_prompt_models.models.cpt.copies_cpt import Copy
from hf_prompt_models.models.cpt.regions_cpt import find_regions
from hf_prompt_models.models.cpt.text_cpt import MASK, clean_phrase, encode_sentence
from hf_prompt_models.prompts.colors import Box, Color, paint_regions


if TYPE_CHECKING:
    from hf_prompt_models.models.cpt.processing_cpt import CptProcessor


REGION_TEMPLATE = "the [MASK] is in {} color."
RELATION_TEMPLATE = "{subject} in {subject_color} color is [MASK] a {object} in {object_color} color"
"""The released code's, without a full stop."""

Copies = tuple[list[list[Copy]], list[list[Box]], list[tuple[int, int]]]
"""The copies of each example, its regions' boxes, and its picture's width and height."""


def with_blanks(template: str, count: int) -> str:
    """A template whose blank takes so many pieces."""
    if template.count(MASK) != 1:
        raise ValueError(
            f"A template has one {MASK}, which is repeated for words of several pieces; got {template!r}."
        )
    return template.replace(MASK, " ".join([MASK] * count))


def find_color(processor: CptProcessor, name: str) -> Color:
    for color in processor.colors:
        if color[0] == name:
            return color
    listed = ", ".join(color for color, _ in processor.colors)
    raise ValueError(f"There is no colour {name!r} in the palette ({listed}): name two that are.")


def region_copies(
    processor: CptProcessor,
    images: Sequence[Any],
    boxes: Sequence[Any] | None,
    masks: Sequence[Any] | None,
    template: str,
    num_blanks: Sequence[int],
) -> Copies:
    """For each region a copy in which it is painted in the first colour, with a sentence for each number of blanks."""
    name, rgb = processor.colors[0]
    sentences = [
        encode_sentence(with_blanks(template, count), [name], processor.tokenizer, processor.max_length)
        for count in num_blanks
    ]
    pictures, regions, region_boxes = find_regions(images, boxes, masks, len(images))
    copies = [
        [
            Copy(paint_regions(picture, [region], [rgb], processor.alpha), [number], sentences)
            for number, region in enumerate(of_example)
        ]
        for picture, of_example in zip(pictures, regions, strict=True)
    ]
    return copies, region_boxes, [picture.size for picture in pictures]


def relation_copies(
    processor: CptProcessor,
    images: Sequence[Any],
    boxes: Sequence[Any] | None,
    masks: Sequence[Any] | None,
    names: Sequence[Sequence[str]],
    pairs: Sequence[Sequence[tuple[int, int]]],
    template: str,
    num_blanks: Sequence[int],
    colors: tuple[str, str],
) -> Copies:
    """For each pair a copy with the subject in one colour and the object in the other.

    Its sentences: from subject to object for each number of blanks, then from object to subject.
    """
    pictures, regions, region_boxes = find_regions(images, boxes, masks, len(images))
    (subject_color, subject_rgb), (object_color, object_rgb) = (find_color(processor, name) for name in colors)
    if len(names) != len(pictures) or len(pairs) != len(pictures):
        raise ValueError(f"names are for {len(names)} examples, pairs for {len(pairs)}; there are {len(pictures)}.")
    copies: list[list[Copy]] = []
    for index, (picture, of_example) in enumerate(zip(pictures, regions, strict=True)):
        if len(names[index]) != len(of_example):
            raise ValueError(f"Example {index} has {len(names[index])} names and {len(of_example)} regions.")
        words = [clean_phrase(name, processor.tokenizer, index) for name in names[index]]
        if not pairs[index]:
            raise ValueError(f"Example {index} has no pairs: pass at least one.")
        copies.append([])
        for subject, other in pairs[index]:
            if subject == other or not (0 <= subject < len(words) and 0 <= other < len(words)):
                raise ValueError(
                    f"Example {index}: {(subject, other)} is no pair of two different regions out of {len(words)}."
                )
            painted = paint_regions(
                picture, [of_example[subject], of_example[other]], [subject_rgb, object_rgb], processor.alpha
            )
            directions = (
                ((words[subject], subject_color), (words[other], object_color)),
                ((words[other], object_color), (words[subject], subject_color)),
            )
            sentences = [
                encode_sentence(
                    in_order(with_blanks(template, count), first[1], second[1]),
                    [first[0], second[0]],
                    processor.tokenizer,
                    processor.max_length,
                )
                for first, second in directions
                for count in num_blanks
            ]
            copies[-1].append(Copy(painted, [subject, other], sentences))
    return copies, region_boxes, [picture.size for picture in pictures]


def in_order(template: str, subject_color: str, object_color: str) -> str:
    """A relation template with its colours, and `{}` for the subject and the object."""
    filled = template.replace("{subject_color}", subject_color).replace("{object_color}", object_color)
    if filled.count("{subject}") != 1 or filled.count("{object}") != 1 or "{object}" in filled.split("{subject}")[0]:
        raise ValueError(f"A relation template has {{subject}} once, then {{object}} once; got {template!r}.")
    return filled.replace("{subject}", "{}").replace("{object}", "{}")
