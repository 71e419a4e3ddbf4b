"""Common tests of transformers on the models of CPT, and on Oscar, one of their backbones."""

import unittest
from typing import Any, ClassVar

import torch
from transformers import CLIPConfig, PreTrainedConfig, ViltConfig

from hf_prompt_models import (
    CptConfig,
    CptForRegionClassification,
    CptForRelationDetection,
    CptForVisualGrounding,
    OscarConfig,
    OscarForMaskedLM,
    OscarModel,
)
from tests.transformers_common.check_clip import TEXT, TOWER, VISION
from tests.transformers_common.testers import CommonTests, Form


BERT = {**TOWER, "vocab_size": 99, "max_position_embeddings": 40, "hidden_dropout_prob": 0.0}
BERT["attention_probs_dropout_prob"] = 0.0
WORDS, REGIONS, COPIES = 7, 3, 2


class CptForm(Form):
    """Every example has two copies, each with one colour on one of its regions."""

    batch_size = 7
    seq_length = WORDS + 17

    def tower_config(self) -> PreTrainedConfig:
        return ViltConfig(**BERT, image_size=32, patch_size=8)

    def fields(self) -> dict[str, Any]:
        return {"score": "logit", "loss": "listwise"}

    def get_config(self) -> CptConfig:
        return CptConfig(tower_config=self.tower_config().to_dict(), trainable="all", **self.fields())

    def texts(self, count: int, blanks: int) -> dict[str, Any]:
        shape = (self.batch_size, COPIES, count, WORDS)
        return {
            "input_ids": torch.randint(5, 99, shape),
            "attention_mask": torch.ones(shape, dtype=torch.long),
            "token_type_ids": torch.zeros(shape, dtype=torch.long),
            "mask_positions": torch.arange(1, 1 + blanks).expand(*shape[:3], blanks).clone(),
            "copy_mask": torch.ones(self.batch_size, COPIES, dtype=torch.long),
            "region_mask": torch.ones(self.batch_size, REGIONS, dtype=torch.long),
        }

    def pictures(self) -> dict[str, Any]:
        return {
            "pixel_values": torch.rand(self.batch_size, COPIES, 3, 32, 32),
            "image_sizes": torch.full((self.batch_size, 2), 32),
        }

    def colors(self) -> dict[str, Any]:
        index = torch.tensor([[0], [1]]).expand(self.batch_size, COPIES, 1).clone()
        return {
            "region_index": index,
            "color_token_ids": torch.full((self.batch_size, COPIES, 1), 9),
            "none_token_ids": torch.full((self.batch_size, COPIES), 10),
        }

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {**self.pictures(), **self.texts(1, 1), **self.colors()}

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        overlaps = torch.zeros(self.batch_size, REGIONS)
        overlaps[:, 0] = 1.0
        return {"labels": overlaps}


class OscarGroundingForm(CptForm):
    seq_length = WORDS + REGIONS

    def tower_config(self) -> PreTrainedConfig:
        return OscarConfig(**BERT, region_feature_size=10)

    def pictures(self) -> dict[str, Any]:
        return {
            "region_features": torch.rand(self.batch_size, COPIES, REGIONS, 10),
            "region_geometry": torch.rand(self.batch_size, REGIONS, 6),
        }


class ClipGroundingForm(CptForm):
    seq_length = 17

    def tower_config(self) -> PreTrainedConfig:
        return CLIPConfig(text_config={**TOWER, **TEXT}, vision_config={**TOWER, **VISION}, projection_dim=16)

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        ids = torch.randint(5, 97, (self.batch_size, 1, 2, WORDS))
        ids[..., -1] = 98
        texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        texts |= {name: value for name, value in self.texts(1, 1).items() if name in ("copy_mask", "region_mask")}
        colors = self.colors()
        colors["color_token_ids"].fill_(0)
        colors["none_token_ids"].fill_(-1)
        return {"pixel_values": self.pictures()["pixel_values"], **texts, **colors}


class RegionForm(CptForm):
    def fields(self) -> dict[str, Any]:
        names = {0: "cat", 1: "sea lion"}
        return {
            "label_token_ids": ["5", "6 7"],
            "id2label": names,
            "label2id": {name: index for index, name in names.items()},
        }

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {**self.pictures(), **self.texts(2, 2)}

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {"labels": torch.zeros(self.batch_size, COPIES, dtype=torch.long)}


class RelationForm(RegionForm):
    def fields(self) -> dict[str, Any]:
        names = {0: "no relation", 1: "on", 2: "next to"}
        return {
            "label_token_ids": ["5", "6 7"],
            "negative_token_ids": ["8", "9 10"],
            "id2label": names,
            "label2id": {name: index for index, name in names.items()},
        }

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {**self.pictures(), **self.texts(4, 2)}


class OscarForm(Form):
    is_training = False
    seq_length = WORDS + REGIONS

    def get_config(self) -> OscarConfig:
        return OscarConfig(**BERT, region_feature_size=10)

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        ids = torch.randint(5, 99, (self.batch_size, WORDS))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "region_features": torch.rand(self.batch_size, REGIONS, 10),
        }

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {}


class OscarMaskedLMForm(OscarForm):
    is_training = True

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {"labels": torch.zeros(self.batch_size, WORDS, dtype=torch.long)}


PICTURES = ["pixel_values", "image_sizes", "region_features", "region_geometry"]
TEXTS = ["input_ids", "attention_mask", "token_type_ids", "mask_positions", "copy_mask", "region_mask"]
COLORS = ["region_index", "color_token_ids", "none_token_ids"]


class CptGroundingViltTest(CommonTests, unittest.TestCase):
    form = CptForm
    all_model_classes = (CptForVisualGrounding,)
    config_fields: ClassVar[dict[str, Any]] = {"score": "logit"}
    additional_model_inputs: ClassVar[list[str]] = [*PICTURES, *TEXTS, *COLORS]


class CptGroundingOscarTest(CptGroundingViltTest):
    form = OscarGroundingForm


class CptGroundingClipTest(CptGroundingViltTest):
    form = ClipGroundingForm


class CptRegionTest(CptGroundingViltTest):
    form = RegionForm
    all_model_classes = (CptForRegionClassification,)


class CptRelationTest(CptGroundingViltTest):
    form = RelationForm
    all_model_classes = (CptForRelationDetection,)


class OscarModelTest(CommonTests, unittest.TestCase):
    form = OscarForm
    all_model_classes = (OscarModel,)
    config_fields: ClassVar[dict[str, Any]] = {"region_feature_size": 10}
    additional_model_inputs: ClassVar[list[str]] = ["region_features"]
    _is_composite = False


class OscarMaskedLMTest(OscarModelTest):
    form = OscarMaskedLMForm
    all_model_classes = (OscarForMaskedLM,)
