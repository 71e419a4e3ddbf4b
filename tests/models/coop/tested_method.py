"""CoOp for the common tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification

from hf_prompt_models import CoOpForImageClassification
from tests.backbones.clip_resnet.stand_in import openai_rn50
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, check_image_classification, image_answers, image_batch


def build(backbone: Path, **choices: Any) -> CoOpForImageClassification:
    names = ["cat", "dog", "the photo"]
    model = CoOpForImageClassification.from_backbone(backbone, class_names=names, n_ctx=4, **choices)
    with torch.no_grad():
        model.prompt_learner.context.normal_(std=0.5)
    return model


CLIP = MethodUnderTest(
    auto_class=AutoModelForImageClassification,
    pipeline_task="image-classification",
    learned=frozenset({"prompt_learner.context"}),
    write_backbone=openai_clip_vit_base_patch32,
    build=build,
    batch=image_batch,
    answers=image_answers,
    check_pipeline=check_image_classification,
)
METHOD = replace(CLIP, variants={"resnet": replace(CLIP, write_backbone=openai_rn50)})
