"""Find the region that a phrase means in an image file, and draw it."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import AutoModel, AutoProcessor

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.models.cpt.pipeline_cpt import VisualGroundingPipeline
from hf_prompt_models.models.cpt.visualization_cpt import ground_and_draw


BLACK = (0, 0, 0)
"""Colour of the transparent pixels of a mask, which are outside of it."""


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
    """Return the predictions of `pipeline("visual-grounding")`, and write an image of them.

    Args:
        directory: Folder of the model.
        image: An image file.
        text: The phrase.
        drawing: Image to write; its suffix sets the format.
        boxes: Candidate regions, x1, y1, x2, y2 in pixels.
        masks: Candidate regions as image files that are not black inside.
        proposals: Name of a model that finds candidate regions.
        backbone: Current location of the backbone, if a checkpoint without it was saved and it moved since.
        box_format: "xywh" if boxes are x, y, width, height.

    Raises:
        UnreadableImageError: If an image cannot be read; the message names the file.
        ValueError: For invalid regions or phrases, as in the pipeline.
    """
    moved = {} if backbone is None else {"base_model_name_or_path": backbone}
    model = AutoModel.from_pretrained(directory, **moved)
    pipe = VisualGroundingPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    regions = (
        None if masks is None else [np.asarray(load_image(mask, background=BLACK)).any(axis=-1) for mask in masks]
    )
    return ground_and_draw(pipe, image, text, drawing, boxes, regions, proposals=proposals, box_format=box_format)
