"""Figures for CPT: the painted copies and the sentence that a model reads, and the regions that it returns."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.patches import Patch
from PIL import Image, ImageDraw

from hf_prompt_models.models.cpt.pipeline_cpt import VisualGroundingPipeline
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.models.cpt.processing_cpt_base import as_pil_image, clean_phrase, fill_template, find_regions
from hf_prompt_models.processing_utils import refuse_long_text
from hf_prompt_models.utils.figures import figure_image, new_figure, wrapped
from hf_prompt_models.utils.files import replacing


BEST_COLOR, OTHER_COLOR, PAPER = (230, 30, 60), (150, 150, 150), (255, 255, 255)
SMALLEST_SIDE = 320
"""Smaller images are enlarged so that captions are readable."""


def draw_grounding(image: Image.Image, answers: Sequence[dict[str, Any]]) -> Image.Image:
    """Return a copy of an image with every region's outline, the best in red; below it phrase, score and legend.

    Args:
        image: the image that was grounded in. Each pixel of a small image becomes a square of pixels.
        answers: output of the pipeline "visual-grounding", best first.
    """
    factor = max(1, math.ceil(SMALLEST_SIDE / max(image.size)))
    size = (image.width * factor, image.height * factor)
    drawn = image.convert("RGB").resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(max(size) / 200))
    for rank, answer in reversed(list(enumerate(answers))):  # the best is drawn last, on top of the others
        left, top, right, bottom = (factor * answer["box"][side] for side in ("xmin", "ymin", "xmax", "ymax"))
        pen.rectangle(
            (left, top, max(right - 1, left), max(bottom - 1, top)),
            outline=OTHER_COLOR if rank else BEST_COLOR,
            width=max(1, width // 2) if rank else width,
        )
    return _with_caption(drawn, answers) if answers else drawn


def _with_caption(picture: Image.Image, answers: Sequence[dict[str, Any]]) -> Image.Image:
    inches = min(max(picture.width / 100, 4.0), 8.0)  # scales letters with large images so that they stay readable
    text = f"{answers[0]['label']}  ({answers[0]['score']:.1%})"
    lines = wrapped(text, int(inches * (12 if text.isascii() else 7)))  # letters of other scripts may be wider
    figure = new_figure(inches, 0.2 * (lines.count("\n") + 1) + 0.5)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=10)
    colors = {f"best of {len(answers)} regions": BEST_COLOR, "other regions": OTHER_COLOR}
    handles = [
        Patch(fill=False, edgecolor="#{:02x}{:02x}{:02x}".format(*color), linewidth=2, label=label)
        for label, color in list(colors.items())[: len(answers)]
    ]
    figure.legend(handles=handles, loc="lower left", ncols=2, fontsize=8)
    caption = figure_image(figure, dpi=picture.width / inches)
    page = Image.new("RGB", (picture.width, picture.height + caption.height), PAPER)
    page.paste(picture)
    page.paste(caption, (0, picture.height))
    return page


def ground_and_draw(
    pipe: VisualGroundingPipeline,
    image: str | os.PathLike | Image.Image,
    text: str,
    output: str | os.PathLike,
    boxes: Sequence[Sequence[float]] | None = None,
    masks: Sequence[Any] | None = None,
    **parameters: Any,
) -> list[dict[str, Any]]:
    """Ground a phrase and write the image with the answer, as `hf-prompt predict` does.

    Args:
        pipe: the pipeline.
        image: an image or its file.
        text: the phrase.
        output: the file to write, whose suffix selects the format. It is written to a temporary file next to it, which
            is then moved into place.
        boxes: the candidate boxes.
        masks: the candidate masks.
        parameters: settings of the pipeline's call, such as `proposals`.

    Returns:
        The pipeline's answers.

    Raises:
        ValueError: if Pillow cannot write the format of the suffix (raised before any work), and as in the pipeline.
    """
    suffix = os.path.splitext(os.fspath(output))[1].lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format not in Image.SAVE:
        raise ValueError(
            f"Cannot write {os.fspath(output)!r}: {suffix or 'no suffix'} is not an image format. Use .png."
        )
    picture = as_pil_image(image, 0)
    given = {name: value for name, value in (("boxes", boxes), ("masks", masks)) if value is not None}
    answers = pipe({"image": picture, "text": text, **given}, **parameters)
    with replacing(output) as beside:
        draw_grounding(picture, answers).save(beside, format=image_format)
    return answers


# -- what the model reads --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShownCopy:
    """A painted copy of an image, for display.

    Attributes:
        image: the copy in a reduced size.
        marks: regions by index, and how each is marked: the name of its colour or of another mark.
    """

    image: Image.Image
    marks: dict[int, str]


def read_sentence(processor: CptProcessor, phrase: str) -> str:
    """Return the template filled with a phrase. The blank is written as `[MASK]`.

    Raises:
        ValueError: for a phrase that is empty, contains a special token, or is too long for the text tower.
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
    """Return the painted copies of one example, in the order in which the model reads them.

    Args:
        processor: the model's processor.
        picture: the image, as in the processor's `images`.
        phrase: the phrase, as in the processor's `text`.
        boxes: the boxes, as for a single example in the processor.
        masks: the masks, as for a single example in the processor.
        side: greatest length of the longer side of the shown copies, in pixels. Smaller images keep their size.

    Raises:
        ValueError: as in the processor.
    """
    of_boxes, of_masks = (None if each is None else [each] for each in (boxes, masks))
    (image,), (regions,), _ = find_regions([picture], of_boxes, of_masks, 1)
    copies = processor.painted_copies(image, clean_phrase(phrase, processor.tokenizer, 0), regions)
    shown = []
    for number, copy in enumerate(copies):
        names: list[str] = [name for name, _ in processor.used_colors]
        if processor.marks:
            names = [processor.marks[number // len(regions)]]
        painted = copy.paint()
        painted.thumbnail((side, side))
        shown.append(ShownCopy(painted, dict(zip(copy.painted, names, strict=False))))
    return shown


__all__ = ["ShownCopy", "draw_grounding", "ground_and_draw", "read_sentence", "show_copies"]
