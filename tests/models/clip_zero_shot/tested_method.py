"""Zero-shot CLIP for the common tests."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForImageClassification

from hf_prompt_models import ClipZeroShotForImageClassification
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, check_image_classification, image_answers, image_batch


def build(backbone: Path, **choices: Any) -> ClipZeroShotForImageClassification:
    templates = ["a photo of a {}.", "itap of the {}."]
    return ClipZeroShotForImageClassification.from_backbone(
        backbone, class_names=["cat", "dog", "the photo"], templates=templates, **choices
    )


METHOD = MethodUnderTest(
    auto_class=AutoModelForImageClassification,
    pipeline_task="image-classification",
    learned=frozenset(),
    write_backbone=openai_clip_vit_base_patch32,
    build=build,
    batch=image_batch,
    answers=image_answers,
    check_pipeline=check_image_classification,
)
