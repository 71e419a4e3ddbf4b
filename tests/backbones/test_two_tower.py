"""Zero-shot CLIP and CoOp over every type of backbone: checkpoints, pipelines, fingerprints, inputs, refused types."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    AutoProcessor,
    CLIPConfig,
    CLIPTextConfig,
    Siglip2Config,
    VisionTextDualEncoderConfig,
    pipeline,
)

from hf_prompt_models import (
    ClipZeroShotForImageClassification,
    CoOpConfig,
    CoOpForImageClassification,
    IVLPForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
)
from hf_prompt_models.backbones.two_tower import BACKBONES, find_backbone
from hf_prompt_models.modeling_context_utils import ContextPromptModel
from tests import stand_ins, stand_ins_bert
from tests.tested_method import assert_same, check_image_classification, random_image


METHODS = (CoOpForImageClassification, ClipZeroShotForImageClassification)
OTHERS = ("siglip", "siglip2", "naflex", "metaclip2", "chinese_clip", "altclip", "align")
NAMES = ["cat", "dog", "the photo"]
Model = CoOpForImageClassification | ClipZeroShotForImageClassification


def build(method: type[Model], folder: Path, names: list[str] | None = None, **kwargs: object) -> Model:
    model = method.from_backbone(folder, class_names=names or NAMES, **kwargs)
    if model.context is not None:
        with torch.no_grad():
            model.context.copy_(torch.randn(model.context.shape, generator=torch.Generator().manual_seed(1)) / 2)
    return model


def pixels(model: Model) -> dict[str, torch.Tensor]:
    return dict(model.processor(images=[random_image(0), random_image(1, (30, 70))], return_tensors="pt"))


@torch.no_grad()
def logits(model: Model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits


@pytest.mark.parametrize("scope", ["prompt", "full"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", OTHERS)
def test_checkpoints_load_with_the_auto_classes_and_run_in_the_pipeline(
    backbone: str, method: type[Model], scope: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model = build(method, request.getfixturevalue(backbone))
    inputs = pixels(model)
    model.save_pretrained(tmp_path, save_backbone=scope == "full")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(loaded) is method
    assert type(loaded.clip) is type(model.clip)
    assert_same(logits(loaded, inputs), logits(model, inputs))
    assert {name for name, parameter in loaded.named_parameters() if parameter.requires_grad} == (
        set() if model.context is None else {"prompt_learner.context"}
    )
    processor = AutoProcessor.from_pretrained(tmp_path)
    for name, tensor in processor(images=[random_image(0), random_image(1, (30, 70))], return_tensors="pt").items():
        assert torch.equal(tensor, inputs[name])
    texts = ["a photo of a Cat (x).", " ox."]
    assert processor.tokenizer(texts)["input_ids"] == model.processor.tokenizer(texts)["input_ids"]
    pipe = pipeline("image-classification", model=str(tmp_path))
    check_image_classification(pipe, model)
    together = pipe([random_image(0), random_image(1, (30, 70))], batch_size=2, top_k=3)
    for answers, scores in zip(together, logits(model, inputs).softmax(-1), strict=True):
        found = torch.tensor([answer["score"] for answer in answers])
        torch.testing.assert_close(found, scores.sort(descending=True).values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "write"),
    [
        ("siglip", stand_ins.google_siglip_base_patch16_224),
        ("naflex", stand_ins.google_siglip2_base_patch16_naflex),
        ("metaclip2", stand_ins.facebook_metaclip_2_worldwide),
        ("chinese_clip", stand_ins_bert.ofa_sys_chinese_clip_vit_base_patch16),
        ("altclip", stand_ins_bert.baai_altclip),
        ("align", stand_ins_bert.kakaobrain_align_base),
    ],
)
def test_another_backbone_of_the_same_type_is_refused(
    backbone: str, write: Callable, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    build(CoOpForImageClassification, request.getfixturevalue(backbone)).save_pretrained(tmp_path / "saved")
    other = write(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="another backbone"):
        AutoModelForImageClassification.from_pretrained(tmp_path / "saved", base_model_name_or_path=str(other))


def test_a_backbone_of_another_type_or_width_is_refused(siglip: Path, openai_clip: Path, tmp_path: Path) -> None:
    build(CoOpForImageClassification, siglip).save_pretrained(tmp_path / "saved")
    wider = stand_ins.google_siglip_base_patch16_224(tmp_path / "wider", hidden_size=64)
    for other in (openai_clip, wider):
        with pytest.raises(ValueError, match="base_model_name_or_path="):
            AutoModelForImageClassification.from_pretrained(tmp_path / "saved", base_model_name_or_path=str(other))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backbone", OTHERS)
def test_new_classes_equal_a_fresh_model(
    backbone: str, method: type[Model], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(backbone)
    build(method, folder).save_pretrained(tmp_path)
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    model.get_text_features()
    model.set_classes(["zebra (x)", "cat"])
    expected = build(method, folder, ["zebra (x)", "cat"])
    assert torch.equal(model.get_text_features().pooler_output, expected.get_text_features().pooler_output)
    assert model.config.class_names == ["zebra (x)", "cat"]


@pytest.mark.parametrize("method", METHODS)
def test_padded_text_is_encoded_once_where_no_gradient_is_wanted(method: type[Model], siglip: Path) -> None:
    model = build(method, siglip)
    calls: list[int] = []
    model.clip.text_model.encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        logits(model, {"image_embeds": torch.eye(32)})
    assert len(calls) == 1
    with torch.no_grad():
        half = model.to(torch.bfloat16).get_text_features().pooler_output
    assert half.dtype == torch.float32  # of a tower in half precision
    assert len(calls) == 2


def test_the_prompt_stays_in_full_precision_over_half_a_siglip(siglip: Path) -> None:
    expected = build(CoOpForImageClassification, siglip)
    inputs = pixels(expected)
    model = build(CoOpForImageClassification, siglip, dtype=torch.bfloat16)
    assert model.clip.dtype == torch.bfloat16
    assert model.context.dtype == torch.float32
    output = model(inputs["pixel_values"].to(torch.bfloat16), labels=torch.tensor([0, 1]))
    output.loss.backward()
    assert model.context.grad.dtype == torch.float32
    # As over a CLIP: bf16 keeps 8 bits of cosines that are scaled to ±100.
    torch.testing.assert_close(output.logits.float(), logits(expected, inputs), rtol=0, atol=3.0)


def test_a_model_that_is_split_over_devices_keeps_the_backbones_blocks_whole(siglip: Path) -> None:
    model = build(CoOpForImageClassification, siglip)
    assert {"SiglipEncoderLayer", "SiglipTextEmbeddings"} <= set(model._no_split_modules)


def test_a_configuration_without_padding_reports_how_to_get_it(siglip: Path) -> None:
    model = build(CoOpForImageClassification, siglip)
    model.config.pad_token_id = None
    with pytest.raises(ValueError, match="set_classes"):
        model.get_text_features()
    model.set_classes(NAMES)
    model.get_text_features()


# -- inputs ----------------------------------------------------------------------------------------------------------


def test_inputs_that_the_image_tower_does_not_take_are_named(naflex: Path, siglip: Path) -> None:
    model = build(CoOpForImageClassification, naflex)
    inputs = pixels(model)
    with pytest.raises(
        ValueError,
        match="Siglip2Model needs pixel_values, pixel_attention_mask, spatial_shapes for images, got pixel_v",
    ):
        model(pixel_values=inputs["pixel_values"])
    with pytest.raises(ValueError, match="SiglipModel needs pixel_values for images"):
        build(CoOpForImageClassification, siglip)(**inputs)


def test_padding_patches_are_not_seen(naflex: Path) -> None:
    model = build(CoOpForImageClassification, naflex)
    inputs = pixels(model)
    expected = logits(model, inputs)
    padding = inputs["pixel_attention_mask"] == 0
    assert padding.any()
    inputs["pixel_values"][padding] = 9.0
    torch.testing.assert_close(logits(model, inputs), expected, rtol=0, atol=1e-4)


# -- types -----------------------------------------------------------------------------------------------------------


def test_a_backbone_is_found_by_its_model_type() -> None:
    assert find_backbone(CLIPConfig()).packs_prompts
    assert not find_backbone(Siglip2Config()).packs_prompts
    for model_type, backbone in BACKBONES.items():
        assert backbone.model_class.config_class.model_type == model_type


def test_the_text_tower_of_a_clip_does_not_make_a_backbone_a_clip() -> None:
    with pytest.raises(TypeError, match=r"type 'clip_text_model'.*Pass one of CLIPModel"):
        find_backbone(CLIPTextConfig())
    both = VisionTextDualEncoderConfig(text_config=CLIPTextConfig().to_dict(), vision_config={"model_type": "vit"})
    with pytest.raises(TypeError, match="type 'vision-text-dual-encoder'"):
        find_backbone(both)


@pytest.mark.parametrize("method", METHODS)
def test_a_backbone_of_an_unknown_type_is_refused_with_the_known_ones(method: type[Model], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "groupvit"}))
    with pytest.raises(TypeError, match="'groupvit'") as error:
        method.from_backbone(tmp_path, class_names=NAMES)
    for part in (str(tmp_path), "CLIPModel", "MetaClip2Model", "SiglipModel", "Siglip2Model"):
        assert part in str(error.value)


@pytest.mark.parametrize("model_type", ["groupvit", "bert"])
def test_a_configuration_with_another_backbone_is_refused(model_type: str) -> None:
    with pytest.raises(TypeError, match="Pass one of CLIPModel"):
        CoOpForImageClassification(CoOpConfig(clip_config={"model_type": model_type}))


@pytest.mark.parametrize(
    "method", [IVLPForImageClassification, MaPLeForImageClassification, MMRLForImageClassification]
)
def test_methods_over_a_class_token_refuse_an_image_tower_without_tokens(
    method: type[ContextPromptModel], openai_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "clip", dataclasses.replace(BACKBONES["clip"], image_tokens="none"))
    with pytest.raises(TypeError, match=r"needs an image encoder with a class token.*CLIPModel is convolutional"):
        method.from_backbone(openai_clip, NAMES)
    build(CoOpForImageClassification, openai_clip)
