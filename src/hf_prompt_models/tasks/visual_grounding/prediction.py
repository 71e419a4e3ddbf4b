"""Finding what a phrase means in an image file, with the answer drawn."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoModel, AutoProcessor

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.models.cpt.pipeline_cpt import VisualGroundingPipeline
from hf_prompt_models.models.cpt.visualization_cpt import ground_and_draw


BLACK = (0, 0, 0)
"""Behind the transparent pixels of a mask, which are outside of it."""


def ground_phrase(
    directory: str | os.PathLike,
    image: str,
    text: str,
    drawing: str | os.PathLike,
    boxes: Sequence[Sequence[float]] | None = None,
    masks: Sequence[str] | None = None,
    proposals: str | None = None,
    backbone: str | None = None,
    box_format: str = "xyxy",
) -> list[dict[str, Any]]:
    """What `pipeline("visual-grounding")` answers, and a picture of it.

    Args:
        directory: of the model.
        image: an image file.
        text: the phrase.
        drawing: the picture to write; its suffix says the format.
        boxes, masks, proposals: candidate regions: x1, y1, x2, y2 in pixels; or image files, not black inside; or
            the name of a model that finds them.
        box_format: "xywh" where boxes are x, y, width, height.
        backbone: where it is now, if it moved since the model was saved without it.

    Raises:
        UnreadableImageError: naming the file.
        ValueError: for regions that are none, or a phrase that cannot be read; as the pipeline does.
    """
    moved = {} if backbone is None else {"base_model_name_or_path": backbone}
    model = AutoModel.from_pretrained(directory, **moved)
    pipe = VisualGroundingPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    regions = (
        None if masks is None else [np.asarray(load_image(mask, background=BLACK)).any(axis=-1) for mask in masks]
    )
    return ground_and_draw(pipe, image, text, drawing, boxes, regions, proposals=proposals, box_format=box_format)
