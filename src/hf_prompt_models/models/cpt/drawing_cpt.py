"""The answer of grounding as a picture."""

import os
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from hf_prompt_models.data.files import replacing
from hf_prompt_models.models.cpt.pipeline_cpt import VisualGroundingPipeline, open_picture


BEST_COLOR, OTHER_COLOR, INK, PAPER = (230, 30, 60), (150, 150, 150), (255, 255, 255), (0, 0, 0)


def draw_grounding(image: Image.Image, answers: Sequence[dict[str, Any]]) -> Image.Image:
    """A copy of a picture with every region's outline, the best one's in red with its score and the phrase.

    Args:
        image: the picture that was grounded in.
        answers: of the pipeline "visual-grounding", best first.
    """
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    width = max(2, round(max(image.size) / 200))
    for rank, answer in reversed(list(enumerate(answers))):  # the best last, over the others
        box = answer["box"]
        corners = (box["xmin"], box["ymin"], max(box["xmax"] - 1, box["xmin"]), max(box["ymax"] - 1, box["ymin"]))
        pen.rectangle(
            corners, outline=OTHER_COLOR if rank else BEST_COLOR, width=max(1, width // 2) if rank else width
        )
    if answers:
        best = answers[0]
        font = ImageFont.load_default(size=max(10, round(max(image.size) / 40)))
        text = f"{best['score']:.0%}  {best['label']}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        x = min(best["box"]["xmin"], max(image.width - (right - left) - 4, 0))
        y = max(best["box"]["ymin"] - (bottom - top) - 4, 0)
        pen.rectangle((x, y, x + right - left + 4, y + bottom - top + 4), fill=PAPER)
        pen.text((x + 2 - left, y + 2 - top), text, fill=INK, font=font)
    return drawn


def ground_and_draw(
    pipe: VisualGroundingPipeline,
    image: str | os.PathLike | Image.Image,
    text: str,
    output: str | os.PathLike,
    boxes: Sequence[Sequence[float]] | None = None,
    masks: Sequence[Any] | None = None,
    **parameters: Any,
) -> list[dict[str, Any]]:
    """Ground a phrase and write the picture with the answer; what `scripts/predict.py` calls.

    Args:
        pipe: the pipeline.
        image: a picture or where it is.
        text: the phrase.
        output: the file to write, whose suffix says the format; beside and moved into place.
        boxes, masks: the candidates.
        parameters: of the pipeline's call, like `proposals`.

    Returns:
        The pipeline's answers.

    Raises:
        ValueError: for a suffix that names no format that Pillow writes, before any work; and as the pipeline does.
    """
    suffix = os.path.splitext(os.fspath(output))[1].lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format not in Image.SAVE:
        raise ValueError(f"Cannot write {os.fspath(output)!r}: {suffix or 'no suffix'} is no image format; use .png.")
    picture = open_picture(image)
    given = {name: value for name, value in (("boxes", boxes), ("masks", masks)) if value is not None}
    answers = pipe({"image": picture, "text": text, **given}, **parameters)
    with replacing(output) as beside:
        draw_grounding(picture, answers).save(beside, format=image_format)
    return answers


__all__ = ["draw_grounding", "ground_and_draw"]
