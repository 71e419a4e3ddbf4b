"""Feature maps of any vision backbone, also from the patches of a transformer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPModel,
    ConvNextConfig,
    ConvNextImageProcessorPil,
    ConvNextModel,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.prefix_lm import vision
from hf_prompt_models.prefix_lm.vision import encode_feature_map, feature_width, load_vision_model
from tests.prefix_lm.backbones import METHODS, examples, language_folder
from tests.stand_ins import google_siglip_base_patch16_224, openai_clip_vit_base_patch32
from tests.tested_method import random_image


SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def save(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    return save(ViTModel(ViTConfig(image_size=64, patch_size=16, **SMALL)), folder)


def dinov2_with_registers(folder: Path) -> Path:
    return save(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(image_size=64, patch_size=16, **SMALL)), folder)


def swin(folder: Path) -> Path:
    config = SwinConfig(image_size=64, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    return save(SwinModel(config), folder)


def convnext(folder: Path) -> Path:
    ConvNextModel(ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2)).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 64}).save_pretrained(folder)
    return folder


BACKBONES: dict[str, Callable[[Path], Path]] = {
    "vit": vit,
    "dinov2 with registers": dinov2_with_registers,
    "swin": swin,
    "convnext": convnext,
    "clip": openai_clip_vit_base_patch32,
    "siglip": google_siglip_base_patch16_224,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BACKBONES)
def test_models_are_made_trained_and_saved_around_it(name: str, method: str, tmp_path: Path) -> None:
    folder = BACKBONES[name](tmp_path / "vision")
    model = METHODS[method].from_backbone(language_folder("gpt2"), vision_model=folder, num_image_tokens=4)
    batch = model.processor(
        images=[[random_image(0), random_image(1)], []], text=["a", "mug"], suffix=["it", "is"], padding=True,
        return_tensors="pt",
    )  # fmt: skip
    model.train()
    model(**batch).loss.backward()
    assert model.image_projection.linear.weight.grad.abs().sum() > 0
    assert sum(p.grad.abs().sum() for p in model.vision_model.parameters() if p.grad is not None) > 0
    model.eval().save_pretrained(tmp_path / "saved")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("name", ["vit", "dinov2 with registers", "swin", "convnext"])
def test_a_feature_stands_where_its_patch_does(name: str, tmp_path: Path) -> None:
    model = load_vision_model(BACKBONES[name](tmp_path))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = encode_feature_map(model, pixels).last_hidden_state
        hidden = AutoModel.from_pretrained(tmp_path)(pixels).last_hidden_state
    assert found.shape[1] == feature_width(model.config)
    if name == "convnext":
        assert torch.equal(found, hidden)
        return
    side = found.shape[-1]
    skipped = {"vit": 1, "dinov2 with registers": 5, "swin": 0}[name]
    assert hidden.shape[1] == side * side + skipped
    for row in range(side):
        for column in range(side):
            assert torch.equal(found[:, :, row, column], hidden[:, skipped + row * side + column])


def test_of_a_two_tower_model_the_image_tower_is_taken(tmp_path: Path) -> None:
    folder = openai_clip_vit_base_patch32(tmp_path)
    tower = CLIPModel.from_pretrained(folder).vision_model
    pixels = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        hidden = tower(pixels).last_hidden_state
        found = encode_feature_map(load_vision_model(folder), pixels).last_hidden_state
        assert torch.equal(found.flatten(2), hidden[:, 1:].mT)


def test_patches_of_an_oblong_image_are_refused(tmp_path: Path) -> None:
    model = load_vision_model(swin(tmp_path))
    with pytest.raises(ValueError, match="square"):
        encode_feature_map(model, torch.randn(1, 3, 64, 32))


@pytest.mark.parametrize("method", METHODS)
def test_every_trained_parameter_of_a_vision_transformer_gets_a_gradient(method: str, tmp_path: Path) -> None:
    """Its pooler, which no feature goes through, gets zeros: processes that train together wait for all of them."""
    vision = vit(tmp_path)
    model = METHODS[method].from_backbone(language_model=language_folder("llama"), vision_model=vision)
    model.train()(**examples(model, [0, 1], suffix=["red", "a mug"])).loss.backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.requires_grad}
    assert all(gradient is not None for gradient in gradients.values())
    assert gradients["vision_model.pooler.dense.weight"].abs().max() == 0


def test_what_is_left_behind_is_not_reported_and_what_is_lacking_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr(vision.logger, "warning", messages.append)
    load_vision_model("playground")
    assert not caplog.records
    shutil.copytree(CLIP_DIR, tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "vision_model.post_layernorm" not in name}
    save_file(kept, tmp_path / "clip" / "model.safetensors", metadata={"format": "pt"})
    load_vision_model(tmp_path / "clip")
    assert len(messages) == 1
    assert "2 weights of the vision model" in messages[0]
    assert "post_layernorm.bias, post_layernorm.weight" in messages[0]
