"""Common tests of transformers on the models of ALPRO."""

import unittest
from typing import Any, ClassVar

import torch

from hf_prompt_models import (
    AlproConfig,
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
)
from tests.transformers_common.testers import CommonTests, Form


TOWER = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37}
VISION = {"image_size": 32, "patch_size": 8, "num_frames": 2, "num_hidden_layers": 2, "drop_path_rate": 0.0}
TEXT = {
    "vocab_size": 99,
    "num_hidden_layers": 4,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


class AlproForm(Form):
    """`hidden_states` are the fusion layers', which read 7 words, the video's token and its 16 places."""

    batch_size = 7
    num_entities = 0
    seq_length = 7 + 1 + 16

    def get_config(self) -> AlproConfig:
        return AlproConfig(
            vision_config={**TOWER, **VISION},
            text_config={**TOWER, **TEXT},
            fusion_layer=2,
            projection_dim=16,
            num_entities=self.num_entities,
            id2label={0: "red", 1: "blue"},
            label2id={"red": 0, "blue": 1},
        )

    def get_inputs(self, config: AlproConfig) -> dict[str, Any]:
        ids = torch.randint(5, 99, (self.batch_size, 7))
        mask = torch.ones_like(ids)
        mask[0, 5:] = 0
        return {
            "pixel_values": torch.rand(self.batch_size, 2, 3, 32, 32),
            "input_ids": ids,
            "attention_mask": mask,
        }


class AlproPreTrainingForm(AlproForm):
    num_entities = 5

    def get_labels(self, config: AlproConfig) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(0)  # the same each time
        ids = torch.randint(5, 99, (self.batch_size, 7), generator=generator)
        return {
            "mlm_input_ids": ids,
            "mlm_labels": ids.clone(),
            "crop_pixel_values": torch.rand(self.batch_size, 2, 3, 32, 32, generator=generator),
            "crop_boxes": torch.tensor([[0, 0, 16, 16]] * self.batch_size),
        }


class AlproRetrievalForm(AlproForm):
    def get_labels(self, config: AlproConfig) -> dict[str, Any]:
        return {"return_loss": True}


class AlproModelForm(AlproForm):
    is_training = False

    def get_labels(self, config: AlproConfig) -> dict[str, Any]:
        return {}


class AlproModelTest(CommonTests, unittest.TestCase):
    form = AlproModelForm
    all_model_classes = (AlproModel,)
    config_fields: ClassVar[dict[str, Any]] = {"projection_dim": 16}
    additional_model_inputs: ClassVar[list[str]] = ["input_ids"]


class AlproPreTrainingTest(AlproModelTest):
    form = AlproPreTrainingForm
    all_model_classes = (AlproForPreTraining,)


class AlproRetrievalTest(AlproModelTest):
    form = AlproRetrievalForm
    all_model_classes = (AlproForVideoTextRetrieval,)


class AlproQuestionAnsweringTest(AlproModelTest):
    form = AlproForm
    all_model_classes = (AlproForVideoQuestionAnswering,)
