"""The pipeline "visual-grounding": find the region of an image that a phrase refers to, among candidate regions."""

import math
import os
from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoConfig, AutoModel, Pipeline, pipeline
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASK_GENERATION_MAPPING_NAMES,
    MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
)
from transformers.pipelines import PIPELINE_REGISTRY

from hf_prompt_models.models.cpt.modeling_cpt import CptForVisualGrounding
from hf_prompt_models.models.cpt.processing_cpt_base import as_pil_image, find_regions
from hf_prompt_models.utils.boxes import check_box_format, check_inside_image, to_xyxy
from hf_prompt_models.utils.describing import describe_value


TASK = "visual-grounding"


class VisualGroundingPipeline(Pipeline):
    """Find the region of an image that a phrase refers to.

    Boxes are in pixels; with `box_format="xywh"` they are `[x, y, width, height]`. `masks` can be passed instead of
    `boxes`. Without either, `proposals` finds the regions: the name or folder of an object-detection or
    mask-generation model, or such a pipeline. `region_features` is passed to the processor. A phrase that is longer
    than the model reads raises an error, or is truncated with `truncation=True`.

    Returns a list of `{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}` with every region once, best first.
    Scores sum to 1 over the regions, and the label is the phrase. For a list of inputs, it returns a list of such
    lists.

    Example:
        ```python
        >>> from transformers import pipeline
        >>> from hf_prompt_models import CptForVisualGrounding, CptProcessor
        >>> from hf_prompt_models.data import read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> model, processor = (each.from_backbone("playground") for each in (CptForVisualGrounding, CptProcessor))
        >>> pipe = pipeline("visual-grounding", model=model, processor=processor)
        >>> write_scene_folder("scenes", seed=0, train=1, test=1)
        >>> scenes = read_referring_expressions("scenes", split="test")
        >>> found = pipe({"image": scenes.load(0), "text": "the small cross", "boxes": scenes.proposals[0].boxes})
        >>> found[0]["box"]
        {'xmin': 34, 'ymin': 34, 'xmax': 43, 'ymax': 43}

        ```
    """

    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _load_video_processor = False

    def __init__(self, *args: Any, **kwargs: Any):
        self._proposers: dict[str, Pipeline] = {}
        super().__init__(*args, **kwargs)
        if not isinstance(self.model, CptForVisualGrounding):
            raise TypeError(f"The pipeline {TASK!r} needs a CptForVisualGrounding, got a {type(self.model).__name__}.")

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Ground one or several phrases; see the class for the settings.

        Args:
            inputs: a dict of `image`, `text` and `boxes` or `masks`, or a list of such dicts.
            kwargs: settings of the pipeline, such as `proposals` or `truncation`.

        Raises:
            ValueError: for inputs without an image or a text, or invalid regions.
        """
        if kwargs.get("batch_size") not in (None, 1):
            raise ValueError(
                "All painted copies of an image already form one batch. Leave batch_size at 1, or call the "
                "processor and the model to ground many phrases at once."
            )
        if isinstance(inputs, list | tuple) and not inputs:
            return []  # the base class would read the first element
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self,
        proposals: Any = None,
        region_features: Any = None,
        truncation: bool | None = None,
        box_format: str | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise ValueError(
                f"{TASK!r} does not accept {', '.join(unknown)}. Put image, text, boxes and masks in the dict."
            )
        if box_format is not None:
            check_box_format(box_format)
        given = {"proposals": self.proposer(proposals), "region_features": region_features, "truncation": truncation}
        given["box_format"] = box_format
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def proposer(self, proposals: Any) -> Any:
        """Return the pipeline that proposes regions. If `proposals` is a name, it is loaded once."""
        if not isinstance(proposals, str | os.PathLike):
            return proposals
        name = os.fspath(proposals)
        if name not in self._proposers:
            model_type = AutoConfig.from_pretrained(name).model_type
            if model_type in MODEL_FOR_MASK_GENERATION_MAPPING_NAMES:
                self._proposers[name] = pipeline("mask-generation", model=name, device=self.device)
            elif model_type in MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES:
                self._proposers[name] = pipeline("object-detection", model=name, device=self.device)
            else:
                raise ValueError(
                    f"proposals={name!r} is a {model_type!r}, which neither detects objects nor generates "
                    "masks. Pass a model that does, or a pipeline."
                )
        return self._proposers[name]

    def preprocess(
        self,
        inputs: Any,
        proposals: Any = None,
        region_features: Any = None,
        truncation: bool = False,
        box_format: str = "xyxy",
    ) -> dict[str, Any]:
        """Find the candidate regions and prepare the inputs of the model."""
        if not isinstance(inputs, dict) or not {"image", "text"} <= set(inputs):
            raise ValueError(
                f"{TASK!r} expects a dict such as {{'image': 'photo.jpg', 'text': 'the horse', 'boxes': "
                f"[...]}}, got {(sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__)}."
            )
        if unknown := set(inputs) - {"image", "text", "boxes", "masks"}:
            raise ValueError(
                f"{TASK!r} does not accept {', '.join(sorted(unknown))}. It accepts image, text, boxes and masks."
            )
        if not isinstance(inputs["text"], str):
            raise ValueError(
                f"Expected one phrase as text, got {describe_value(inputs['text'])}. Pass one dict per phrase."
            )
        picture = as_pil_image(inputs["image"], 0)
        boxes, masks = inputs.get("boxes"), inputs.get("masks")
        if boxes is not None:
            boxes = check_boxes(boxes, picture.size, box_format)
        if boxes is None and masks is None and proposals is not None:
            boxes, masks = propose_regions(proposals, picture)
        of_boxes, of_masks = (None if each is None else [each] for each in (boxes, masks))
        _, _, (kept,) = find_regions([picture], of_boxes, of_masks, 1)
        prepared = self.processor(
            images=picture,
            text=inputs["text"],
            boxes=boxes,
            masks=masks,
            region_features=region_features,
            truncation=truncation,
        )
        return {"model_inputs": dict(prepared), "boxes": kept, "text": inputs["text"]}

    def _forward(self, prepared: dict[str, Any]) -> dict[str, Any]:
        return prepared | {"outputs": self.model(**prepared["model_inputs"])}

    def postprocess(self, answered: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the regions as dicts, best first."""
        (found,) = self.processor.post_process_visual_grounding(answered["outputs"], [answered["boxes"]])
        names = ("xmin", "ymin", "xmax", "ymax")
        return [
            {"score": score, "label": answered["text"], "box": dict(zip(names, box, strict=True))}
            for score, box in zip(found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        ]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the model with its processor.

        The base class would not save the processor. It would also mark the pipeline's code as custom in the
        configuration, so that loading would need `trust_remote_code` although the task is registered.
        """
        self.model.processor = self.processor
        self.model.save_pretrained(save_directory, **kwargs)


def check_boxes(boxes: Any, size: tuple[int, int], box_format: str) -> list[list[float]]:
    """Return boxes as `[x1, y1, x2, y2]`.

    Args:
        boxes: boxes in pixels of the image.
        size: width and height of the image.
        box_format: "xyxy", or "xywh" if boxes are `[x, y, width, height]`.

    Raises:
        ValueError: if a box is invalid or outside the image; the message names the box.
    """
    checked = []
    for index, box in enumerate(boxes):
        try:
            try:
                numbers = [float(number) for number in box]
            except TypeError as error:
                raise ValueError(f"expected four numbers, got {describe_value(box)}.") from error
            if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
                raise ValueError(f"expected four numbers, got {numbers}.")
            checked.append(to_xyxy(numbers, box_format))
            check_inside_image(checked[-1], size, box_format)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Box {index}: {error}") from error
    return checked


def propose_regions(proposals: Any, picture: Image.Image) -> tuple[list[Any] | None, list[Any] | None]:
    """Return boxes or masks of an image, as an object-detection or a mask-generation pipeline finds them.

    Raises:
        ValueError: if nothing was found.
    """
    answers = proposals(picture)
    if isinstance(answers, dict):
        masks = [np.asarray(mask) for mask in answers["masks"]]
        boxes, masks = None, [mask for mask in masks if mask.any()]
    else:
        places = [answer["box"] for answer in answers]
        boxes, masks = [[box["xmin"], box["ymin"], box["xmax"], box["ymax"]] for box in places], None
    if not boxes and not masks:
        raise ValueError("The proposals pipeline found no region in the image. Lower its threshold, or pass boxes.")
    return boxes, masks


def register() -> None:
    """Register the task with `pipeline()`."""
    PIPELINE_REGISTRY.register_pipeline(
        TASK, pipeline_class=VisualGroundingPipeline, pt_model=AutoModel, type="multimodal"
    )


__all__ = ["VisualGroundingPipeline"]
