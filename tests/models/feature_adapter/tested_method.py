"""Feature adapters for the common tests."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification

from hf_prompt_models import FeatureAdapterForImageClassification
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, check_image_classification, image_answers, image_batch


def described(adapter_type: str, *learned: str) -> MethodUnderTest:
    def build(backbone: Path, **choices: Any) -> FeatureAdapterForImageClassification:
        model = FeatureAdapterForImageClassification.from_backbone(
            backbone, class_names=["cat", "dog", "the photo"], adapter_type=adapter_type, **choices
        )
        if adapter_type.startswith("tip"):
            keys = torch.randn(6, model.image_feature_size, generator=torch.Generator().manual_seed(0))
            model.adapter.set_keys(torch.nn.functional.normalize(keys, dim=-1), torch.arange(6) % 3)
            model.config.update({"alpha": 3.0, "beta": 2.0})
        with torch.no_grad():
            for parameter in model.adapter.parameters():
                parameter.normal_(std=0.5)
        return model

    return MethodUnderTest(
        auto_class=AutoModelForImageClassification,
        pipeline_task="image-classification",
        learned=frozenset(f"adapter.{name}" for name in learned),
        write_backbone=openai_clip_vit_base_patch32,
        build=build,
        batch=image_batch,
        answers=image_answers,
        check_pipeline=check_image_classification,
        used_part="vision_model." if adapter_type == "clap" else "",
    )


METHOD = described("clap", "weight")
METHOD.variants.update(
    {
        "lp++": described("lp++", "weight", "bias", "text_weight"),
        "taskres": described("taskres", "residual"),
        "tip_adapter": described("tip_adapter", "keys"),
        "clip_adapter": described("clip_adapter", "down_proj.weight", "up_proj.weight"),
        "prolip": described("prolip", "weight"),
    }
)
