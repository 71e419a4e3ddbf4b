"""Common tests of transformers on the methods that prompt a CLIP, or a similar model."""

import unittest
from typing import Any, ClassVar

import torch
from transformers import (
    AlignConfig,
    AltCLIPConfig,
    ChineseCLIPConfig,
    CLIPConfig,
    PreTrainedConfig,
    Siglip2Config,
    SiglipConfig,
)

from hf_prompt_models import (
    ActionClipConfig,
    ActionClipForVideoClassification,
    ClipLoraConfig,
    ClipLoraForImageClassification,
    ClipZeroShotConfig,
    ClipZeroShotForImageClassification,
    CoCoOpConfig,
    CoCoOpForImageClassification,
    CoOpConfig,
    CoOpForImageClassification,
    IVLPConfig,
    IVLPForImageClassification,
    KgCoOpConfig,
    KgCoOpForImageClassification,
    MaPLeConfig,
    MaPLeForImageClassification,
    MMRLConfig,
    MMRLForImageClassification,
    ProGradConfig,
    ProGradForImageClassification,
    PromptSRCConfig,
    PromptSRCForImageClassification,
    TCPConfig,
    TCPForImageClassification,
)
from tests.transformers_common.testers import CommonTests, Form


TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
TEXT = {"vocab_size": 99, "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 98, "pad_token_id": 1}
VISION = {"image_size": 32, "patch_size": 8}
PROMPTS = ["0 5 6 98", "0 7 98", "0 5 9 10 98"]
CLASSES = {"id2label": {0: "cat", 1: "dog", 2: "the photo"}, "label2id": {"cat": 0, "dog": 1, "the photo": 2}}


def clip(**fields: Any) -> dict[str, Any]:
    return CLIPConfig(
        text_config={**TOWER, **TEXT}, vision_config={**TOWER, **VISION}, projection_dim=16, **fields
    ).to_dict()


def siglip() -> dict[str, Any]:
    text = {**TOWER, **TEXT, "projection_size": 32}
    return SiglipConfig(text_config=text, vision_config={**TOWER, **VISION}).to_dict()


def naflex() -> dict[str, Any]:
    text = {**TOWER, **TEXT, "projection_size": 32}
    vision = {**TOWER, "num_patches": 16, "patch_size": 8}
    return Siglip2Config(text_config=text, vision_config=vision).to_dict()


def chinese_clip() -> dict[str, Any]:
    text = {**TOWER, **TEXT}
    return ChineseCLIPConfig(text_config=text, vision_config={**TOWER, **VISION}, projection_dim=16).to_dict()


def altclip() -> dict[str, Any]:
    text = {**TOWER, **TEXT, "project_dim": 24}
    return AltCLIPConfig(text_config=text, vision_config={**TOWER, **VISION}, projection_dim=16).to_dict()


def align() -> dict[str, Any]:
    vision = {"hidden_dim": 32, "image_size": 32, "depth_coefficient": 0.1, "width_coefficient": 0.1}
    return AlignConfig(text_config={**TOWER, **TEXT}, vision_config=vision, projection_dim=32).to_dict()


class ImageForm(Form):
    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        return {"pixel_values": torch.rand(self.batch_size, 3, self.image_size, self.image_size)}


class CoOpForm(ImageForm):
    csc = False

    def clip_config(self) -> dict[str, Any]:
        return clip()

    def get_config(self) -> CoOpConfig:
        return CoOpConfig(
            clip_config=self.clip_config(),
            n_ctx=4,
            class_specific_context=self.csc,
            class_token_ids=PROMPTS,
            class_name_lengths=[2, 1, 3],
            pad_token_id=1,
            **CLASSES,
        )


class CoOpCscForm(CoOpForm):
    csc = True


class CoOpSiglipForm(CoOpForm):
    seq_length = 16

    def clip_config(self) -> dict[str, Any]:
        return siglip()


class CoOpChineseClipForm(CoOpForm):
    def clip_config(self) -> dict[str, Any]:
        return chinese_clip()


class CoOpAltClipForm(CoOpForm):
    def clip_config(self) -> dict[str, Any]:
        return altclip()


class CoOpAlignForm(CoOpForm):
    def clip_config(self) -> dict[str, Any]:
        return align()


class CoOpNaflexForm(CoOpForm):
    batch_size = 7  # the batch size of the tests of transformers, which would fill image sizes with random numbers
    seq_length = 16

    def clip_config(self) -> dict[str, Any]:
        return naflex()

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        mask = torch.ones(self.batch_size, 16, dtype=torch.long)
        mask[0, 12:] = 0
        shapes = torch.tensor([[3, 4], *[[4, 4]] * (self.batch_size - 2), [2, 8]])
        return {
            "pixel_values": torch.rand(self.batch_size, 16, 3 * 8 * 8),
            "pixel_attention_mask": mask,
            "spatial_shapes": shapes,
        }


class KgCoOpForm(ImageForm):
    config_class: ClassVar[type[PreTrainedConfig]] = KgCoOpConfig
    fields: ClassVar[dict[str, Any]] = {}

    def get_config(self) -> PreTrainedConfig:
        teacher = {"templates": ["a {}.", "the {}."], "teacher_token_ids": PROMPTS * 2}
        return self.config_class(
            clip_config=clip(), class_token_ids=PROMPTS, pad_token_id=1, **teacher, **self.fields, **CLASSES
        )


class ProGradForm(KgCoOpForm):
    config_class = ProGradConfig


class IVLPForm(KgCoOpForm):
    seq_length = 19  # with the prompts of the image tower
    config_class = IVLPConfig
    fields: ClassVar[dict[str, Any]] = {"text_depth": 2, "vision_depth": 2}


class MaPLeForm(KgCoOpForm):
    seq_length = 19  # with the prompts of the image tower
    config_class = MaPLeConfig
    fields: ClassVar[dict[str, Any]] = {"prompt_depth": 2}


class PromptSRCForm(KgCoOpForm):
    seq_length = 21  # with the prompts of the image tower
    config_class = PromptSRCConfig
    fields: ClassVar[dict[str, Any]] = {"prompt_depth": 2}


class CoCoOpForm(KgCoOpForm):
    config_class = CoCoOpConfig


class TCPForm(KgCoOpForm):
    config_class = TCPConfig
    fields: ClassVar[dict[str, Any]] = {"class_token_layer": 1}


class MMRLForm(KgCoOpForm):
    config_class = MMRLConfig
    fields: ClassVar[dict[str, Any]] = {"first_layer": 1, "rep_dim": 16}


class ZeroShotForm(ImageForm):
    def get_config(self) -> ClipZeroShotConfig:
        return ClipZeroShotConfig(
            clip_config=clip(), templates=["a {}.", "the {}."], prompt_token_ids=PROMPTS * 2, **CLASSES
        )


class ClipLoraForm(ImageForm):
    def get_config(self) -> ClipLoraConfig:
        return ClipLoraConfig(
            clip_config=clip(),
            templates=["a {}.", "the {}."],
            prompt_token_ids=PROMPTS * 2,
            lora_dropout=0.0,
            **CLASSES,
        )


class ActionClipForm(Form):
    num_frames = 2
    choices: ClassVar[dict[str, Any]] = {}

    def get_config(self) -> ActionClipConfig:
        fields = {"head_num_layers": 2, "head_num_attention_heads": 4, "num_frames": 2, "max_frames": 8}
        return ActionClipConfig(
            clip_config=clip(),
            templates=["a {}.", "the {}."],
            prompt_token_ids=PROMPTS * 2,
            **{**fields, **self.choices},
            **CLASSES,
        )

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        side = self.image_size
        return {"pixel_values": torch.rand(self.batch_size, self.num_frames, 3, side, side)}


class ActionClipHeadForm(ActionClipForm):
    choices: ClassVar[dict[str, Any]] = {"trainable": "head", "in_network": "shift", "post_network": "lstm"}


class ActionClipTransfClsForm(ActionClipForm):
    choices: ClassVar[dict[str, Any]] = {"post_network": "transf_cls"}


class ActionClipJointForm(ActionClipForm):
    seq_length = 33
    choices: ClassVar[dict[str, Any]] = {"pre_network": "joint", "post_network": "mean"}


class CoOpTest(CommonTests, unittest.TestCase):
    form = CoOpForm
    all_model_classes = (CoOpForImageClassification,)
    config_fields: ClassVar[dict[str, Any]] = {"n_ctx": 4}


class CoOpCscTest(CoOpTest):
    form = CoOpCscForm


class CoOpSiglipTest(CoOpTest):
    form = CoOpSiglipForm


class CoOpChineseClipTest(CoOpTest):
    form = CoOpChineseClipForm


class CoOpAltClipTest(CoOpTest):
    form = CoOpAltClipForm


class CoOpAlignTest(CoOpTest):
    form = CoOpAlignForm


class CoOpNaflexTest(CoOpTest):
    form = CoOpNaflexForm
    additional_model_inputs: ClassVar[list[str]] = ["pixel_attention_mask", "spatial_shapes"]

    def _image_features_prepare_config_and_inputs(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        return self.model_tester.prepare_config_and_inputs_for_common()


class KgCoOpTest(CommonTests, unittest.TestCase):
    form = KgCoOpForm
    all_model_classes = (KgCoOpForImageClassification,)
    config_fields: ClassVar[dict[str, Any]] = {"n_ctx": 4}


class ProGradTest(KgCoOpTest):
    form = ProGradForm
    all_model_classes = (ProGradForImageClassification,)


class IVLPTest(KgCoOpTest):
    form = IVLPForm
    all_model_classes = (IVLPForImageClassification,)


class MaPLeTest(KgCoOpTest):
    form = MaPLeForm
    all_model_classes = (MaPLeForImageClassification,)


class PromptSRCTest(KgCoOpTest):
    form = PromptSRCForm
    all_model_classes = (PromptSRCForImageClassification,)


class CoCoOpTest(KgCoOpTest):
    form = CoCoOpForm
    all_model_classes = (CoCoOpForImageClassification,)


class TCPTest(KgCoOpTest):
    form = TCPForm
    all_model_classes = (TCPForImageClassification,)


class MMRLTest(KgCoOpTest):
    form = MMRLForm
    all_model_classes = (MMRLForImageClassification,)
    config_fields: ClassVar[dict[str, Any]] = {"n_rep": 5}


class ClipZeroShotTest(CommonTests, unittest.TestCase):
    form = ZeroShotForm
    all_model_classes = (ClipZeroShotForImageClassification,)
    config_fields: ClassVar[dict[str, Any]] = {"templates": ["a {}."]}


class ClipLoraTest(CommonTests, unittest.TestCase):
    form = ClipLoraForm
    all_model_classes = (ClipLoraForImageClassification,)
    config_fields: ClassVar[dict[str, Any]] = {"rank": 2}


class ActionClipTest(CommonTests, unittest.TestCase):
    form = ActionClipForm
    all_model_classes = (ActionClipForVideoClassification,)

    def _image_features_prepare_config_and_inputs(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        return config, {"pixel_values": inputs["pixel_values"][:, 0]}

    config_fields: ClassVar[dict[str, Any]] = {"num_frames": 4}


class ActionClipHeadTest(ActionClipTest):
    form = ActionClipHeadForm


class ActionClipTransfClsTest(ActionClipTest):
    form = ActionClipTransfClsForm


class ActionClipJointTest(ActionClipTest):
    form = ActionClipJointForm
