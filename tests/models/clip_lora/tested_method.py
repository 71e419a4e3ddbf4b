"""CLIP-LoRA for the common tests."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification

from hf_prompt_models import ClipLoraForImageClassification
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, check_image_classification, image_answers, image_batch


TOWERS = {"text": ["text_model"], "vision": ["vision_model"], "both": ["text_model", "vision_model"]}


def build(backbone: Path, encoder: str = "both", **choices: Any) -> ClipLoraForImageClassification:
    """A model whose updates are of the size of the weights."""
    model = ClipLoraForImageClassification.from_backbone(
        backbone, ["cat", "dog", "the photo"], encoder=encoder, **choices
    )
    with torch.no_grad():
        for parameter in model.low_rank.parameters():
            parameter.normal_(std=0.3)
    return model


def described(encoder: str) -> MethodUnderTest:
    return MethodUnderTest(
        auto_class=AutoModelForImageClassification,
        pipeline_task="image-classification",
        learned=frozenset(
            f"low_rank.{tower}.{layer}.{projection}.{matrix}"
            for tower in TOWERS[encoder]
            for layer in range(2)
            for projection in "qkv"
            for matrix in "AB"
        ),
        write_backbone=openai_clip_vit_base_patch32,
        build=partial(build, encoder=encoder),
        batch=image_batch,
        answers=image_answers,
        check_pipeline=check_image_classification,
    )


METHOD = replace(described("both"), variants={"text": described("text"), "vision": described("vision")})
