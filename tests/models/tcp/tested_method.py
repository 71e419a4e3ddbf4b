"""TCP, as the common tests run it."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification

from hf_prompt_models import TCPForImageClassification
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, check_image_classification, image_answers, image_batch


def build(backbone: Path, **choices: Any) -> TCPForImageClassification:
    names = ["cat", "dog", "the photo"]
    model = TCPForImageClassification.from_backbone(backbone, class_names=names, class_token_layer=1, **choices)
    with torch.no_grad():
        for parameter in model.prompt_learner.parameters():
            parameter.normal_(std=0.5)
    return model


METHOD = MethodUnderTest(
    auto_class=AutoModelForImageClassification,
    pipeline_task="image-classification",
    learned=frozenset(
        {
            "prompt_learner.context",
            "prompt_learner.meta_net.linear1.weight",
            "prompt_learner.meta_net.linear1.bias",
            "prompt_learner.meta_net.linear2.weight",
            "prompt_learner.meta_net.linear2.bias",
        }
    ),
    write_backbone=openai_clip_vit_base_patch32,
    build=build,
    batch=image_batch,
    answers=image_answers,
    check_pipeline=check_image_classification,
)
