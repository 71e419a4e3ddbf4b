"""Common tests of transformers on the CLIP with a ResNet as image tower, and on this tower."""

import unittest
from typing import Any, ClassVar

import torch
from transformers import PreTrainedConfig

from hf_prompt_models import ClipResNetConfig, ClipResNetModel, ClipResNetVisionConfig, ClipResNetVisionModel
from tests.transformers_common.check_clip import TEXT, TOWER
from tests.transformers_common.testers import CommonTests, Form


VISION = {"layers": [1, 2, 1, 1], "width": 4, "image_size": 64, "output_dim": 16}


class ResNetForm(Form):
    hidden_size = 128
    num_hidden_layers = 4
    num_attention_heads = 2
    seq_length = 4
    image_size = 64

    def get_config(self) -> PreTrainedConfig:
        return ClipResNetVisionConfig(**VISION)

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {"pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size)}


class ClipForm(ResNetForm):
    def get_config(self) -> PreTrainedConfig:
        return ClipResNetConfig(text_config={**TOWER, **TEXT}, vision_config=VISION)

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        input_ids = torch.randint(2, 98, (self.batch_size, 7))
        input_ids[:, -1] = 98
        return super().get_inputs(config) | {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {"return_loss": True}


class ClipResNetVisionTest(CommonTests, unittest.TestCase):
    form = ResNetForm
    all_model_classes = (ClipResNetVisionModel,)
    config_fields: ClassVar[dict[str, Any]] = {"width": 8}
    _is_composite = False


class ClipResNetTest(CommonTests, unittest.TestCase):
    form = ClipForm
    all_model_classes = (ClipResNetModel,)
    config_fields: ClassVar[dict[str, Any]] = {"logit_scale_init_value": 2.0}
