"""CPT with a frozen ViLT for the common tests: one colour and several, and a CLIP."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, Pipeline, PreTrainedModel

from hf_prompt_models import CptForVisualGrounding, CptProcessor
from tests.models.cpt.scenes import random_boxes
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, random_image
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


PHRASES = ["the horse", "a dog watched by the woman.", "left", "the cat on the right"]


def build(**choices: Any) -> Callable[..., CptForVisualGrounding]:
    def from_backbone(backbone: Path, **more: Any) -> CptForVisualGrounding:
        model = CptForVisualGrounding.from_backbone(backbone, score="logit", loss="listwise", **more)
        model.processor = CptProcessor.from_backbone(backbone, **choices)
        return model

    return from_backbone


def prepare(model: PreTrainedModel, numbers: Sequence[int]) -> dict[str, Any]:
    """Images of different sizes with different numbers of regions."""
    sizes = [(60 + 20 * number, 40) for number in numbers]
    boxes = [random_boxes(1 + 2 * (number % 4), size, number) for number, size in zip(numbers, sizes, strict=True)]
    return dict(
        model.processor(
            images=[random_image(number, size) for number, size in zip(numbers, sizes, strict=True)],
            text=[PHRASES[number % len(PHRASES)] for number in numbers],
            boxes=boxes,
            target_boxes=[row[-1] for row in boxes],
        )
    )


def grounding_batch(model: PreTrainedModel, size: int) -> dict[str, torch.Tensor]:
    return prepare(model, range(size))


@torch.no_grad()
def grounding_answers(model: PreTrainedModel, numbers: Sequence[int]) -> list[torch.Tensor]:
    """Scores of the regions that an example has."""
    scores = model(**prepare(model, numbers)).proposal_logits
    return [row[: 1 + 2 * (number % 4)] for row, number in zip(scores, numbers, strict=True)]


def check_visual_grounding(pipe: Pipeline, model: PreTrainedModel) -> None:
    """The pipeline's boxes and scores are the softmax of the model's logits over the regions, best first."""
    image, boxes = random_image(), random_boxes(4, (60, 40))
    answers: list[dict[str, Any]] = pipe({"image": image, "text": "the horse", "boxes": boxes})
    with torch.no_grad():
        logits = model(**model.processor(images=image, text="the horse", boxes=boxes)).proposal_logits[0]
    scores, order = logits.float().softmax(-1).sort(descending=True)
    assert [list(answer["box"].values()) for answer in answers] == [boxes[index] for index in order.tolist()]
    assert {answer["label"] for answer in answers} == {"the horse"}
    torch.testing.assert_close(torch.tensor([answer["score"] for answer in answers]), scores, rtol=1e-4, atol=1e-5)


def method(write_backbone: Callable[..., Path], **choices: Any) -> MethodUnderTest:
    return MethodUnderTest(
        auto_class=AutoModel,
        pipeline_task="visual-grounding",
        learned=frozenset(),
        write_backbone=write_backbone,
        build=build(**choices),
        batch=grounding_batch,
        answers=grounding_answers,
        check_pipeline=check_visual_grounding,
        logits_name="proposal_logits",
        variants={}
        if choices
        else {
            "anchored colours": method(dandelin_vilt_b32_mlm, mode="multi_color", calibration="anchor"),
            "CLIP": method(openai_clip_vit_base_patch32, mode=["circle", "crop"], reference_phrases=["a dog"]),
        },
    )


METHOD = method(dandelin_vilt_b32_mlm)
