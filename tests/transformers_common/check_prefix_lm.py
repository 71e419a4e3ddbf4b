"""Common tests of transformers on MAnTiS and Frozen."""

import unittest
from typing import Any, ClassVar

import torch
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig, ResNetConfig, ViTConfig

from hf_prompt_models import (
    FrozenConfig,
    FrozenForConditionalGeneration,
    MantisConfig,
    MantisForConditionalGeneration,
)
from tests.transformers_common.testers import CommonTests, Form, GenerationTesterMixin


SPECIAL = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}


class FrozenForm(Form):
    """A GPT-2 with a ResNet; the placeholder follows the vocabulary, as with `from_backbone`."""

    batch_size = 7
    num_image_tokens = 2
    seq_length = 9
    vocab_size = 99
    image_token_id = 99
    config_class: ClassVar[type[PreTrainedConfig]] = FrozenConfig
    own_fields: ClassVar[dict[str, Any]] = {}

    def language_model(self) -> PreTrainedConfig:
        return GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=self.vocab_size, n_positions=64, **DROPOUT)

    def vision_model(self) -> PreTrainedConfig:
        return ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])

    def get_config(self) -> PreTrainedConfig:
        return self.config_class(
            text_config=self.language_model().to_dict(),
            vision_config=self.vision_model().to_dict(),
            num_image_tokens=self.num_image_tokens,
            image_token_id=self.image_token_id,
            **SPECIAL,
            **self.own_fields,
        )

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        ids = torch.randint(5, 90, (self.batch_size, self.seq_length))
        ids[:, : self.num_image_tokens] = self.image_token_id
        if "separator_token_id" in self.own_fields:
            ids[:, 4] = self.own_fields["separator_token_id"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size),
        }

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(0)  # the same each time
        return {"labels": torch.randint(5, 90, (self.batch_size, self.seq_length), generator=generator)}


class FrozenInVocabularyForm(FrozenForm):
    image_token_id = 98


class LlamaVitForm(FrozenForm):
    def language_model(self) -> PreTrainedConfig:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
        return LlamaConfig(**sizes, num_key_value_heads=2, vocab_size=self.vocab_size, max_position_embeddings=64)

    def vision_model(self) -> PreTrainedConfig:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
        return ViTConfig(**sizes, image_size=32, patch_size=8)


class MantisForm(FrozenForm):
    config_class = MantisConfig
    own_fields: ClassVar[dict[str, Any]] = {"separator_token_id": 100}


class MantisInVocabularyForm(MantisForm):
    image_token_id = 98
    own_fields: ClassVar[dict[str, Any]] = {"separator_token_id": 97}


class MantisLlamaVitForm(LlamaVitForm):
    config_class = MantisConfig
    own_fields: ClassVar[dict[str, Any]] = {"separator_token_id": 100}


class FrozenTest(CommonTests, GenerationTesterMixin, unittest.TestCase):
    form = FrozenForm
    all_model_classes = (FrozenForConditionalGeneration,)
    config_fields: ClassVar[dict[str, Any]] = {"num_image_tokens": 2, "image_token_id": 7}
    additional_model_inputs: ClassVar[list[str]] = ["pixel_values"]


class FrozenInVocabularyTest(FrozenTest):
    form = FrozenInVocabularyForm


class FrozenLlamaVitTest(FrozenTest):
    form = LlamaVitForm


class MantisTest(FrozenTest):
    form = MantisForm
    all_model_classes = (MantisForConditionalGeneration,)
    config_fields: ClassVar[dict[str, Any]] = {"image_token_id": 7, "separator_token_id": 8}


class MantisInVocabularyTest(MantisTest):
    form = MantisInVocabularyForm


class MantisLlamaVitTest(MantisTest):
    form = MantisLlamaVitForm
