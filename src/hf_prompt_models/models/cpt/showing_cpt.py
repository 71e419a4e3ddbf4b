"""What a model of CPT reads of an example, for people to look at: the painted copies and the sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.models.cpt.regions_cpt import find_regions
from hf_prompt_models.models.cpt.text_cpt import clean_phrase, fill_template
from hf_prompt_models.processing_utils import refuse_long_text


@dataclass(frozen=True)
class ShownCopy:
    """A painted copy of a picture.

    Attributes:
        picture: shrunk, for looking at.
        marks: regions by number, and how each is marked: a colour's name, or of other marks the mark's.
    """

    picture: Image.Image
    marks: dict[int, str]


def read_sentence(processor: CptProcessor, phrase: str) -> str:
    """The template filled with a phrase; the blank is written `[MASK]`.

    Raises:
        ValueError: for a phrase that is empty or holds a special token, or of which the text tower would read a part
            only.
    """
    tokenizer = processor.tokenizer
    cleaned = clean_phrase(phrase, tokenizer, 0)
    refuse_long_text(
        "The sentence of the phrase", cleaned, processor.sentence_length(phrase), processor.max_length, in_python=False
    )
    return fill_template(processor.template, [cleaned])


def show_copies(
    processor: CptProcessor,
    picture: Image.Image,
    phrase: str,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    side: int = 320,
) -> list[ShownCopy]:
    """The painted copies of one example, in the order in which the model reads them.

    Args:
        processor: the model's.
        picture, phrase, boxes, masks: as of the processor's `images`, `text`, `boxes`, `masks`, of one example.
        side: the longer side of what is shown, in pixels; smaller pictures stay as they are.

    Raises:
        ValueError: as the processor does.
    """
    of_boxes, of_masks = (None if each is None else [each] for each in (boxes, masks))
    (image,), (regions,), _ = find_regions([picture], of_boxes, of_masks, 1)
    copies = processor._copies(image, clean_phrase(phrase, processor.tokenizer, 0), regions, None)
    shown = []
    for number, copy in enumerate(copies):
        names: list[str] = [name for name, _ in processor.used_colors]
        if processor.marks:
            names = [processor.marks[number // len(regions)]]
        painted = copy.paint()
        painted.thumbnail((side, side))
        shown.append(ShownCopy(painted, dict(zip(copy.painted, names, strict=False))))
    return shown


__all__ = ["ShownCopy", "read_sentence", "show_copies"]
