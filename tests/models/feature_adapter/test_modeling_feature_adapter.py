"""Feature adapters: their logits, their start, their classes and their settings."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from hf_prompt_models import ClipZeroShotForImageClassification, FeatureAdapterForImageClassification
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import ADAPTER_TYPES
from tests.models.feature_adapter.written_out import tip_logits, unit
from tests.stand_ins import google_siglip_base_patch16_224, openai_clip_vit_base_patch32


NAMES = ["cat", "dog", "the photo"]
TEMPLATES = ["a photo of a {}.", "itap of the {}."]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_clip_vit_base_patch32(tmp_path_factory.mktemp("clip"))


def new(backbone: Path, adapter_type: str, **settings) -> FeatureAdapterForImageClassification:
    return FeatureAdapterForImageClassification.from_backbone(backbone, NAMES, adapter_type=adapter_type, **settings)


def width_of(model: FeatureAdapterForImageClassification) -> int:
    prolip = model.config.adapter_type == "prolip"
    return model.clip.visual_projection.in_features if prolip else model.image_feature_size


def features(model, count: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width_of(model), generator=torch.Generator().manual_seed(seed))


def pixels(model) -> torch.Tensor:
    size = model.config.clip_config.vision_config.image_size
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("adapter_type", sorted(set(ADAPTER_TYPES) - {"clip_adapter"}))
def test_adapter_starts_at_zero_shot(backbone: Path, adapter_type: str) -> None:
    model = new(backbone, adapter_type)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(backbone, NAMES)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels(model)).logits, zero_shot(pixels(model)).logits, rtol=0, atol=2e-5)


@pytest.mark.parametrize("adapter_type", ["clap", "linear", "taskres"])
def test_class_weights_start_at_the_mean_of_unnormalised_text_features(backbone: Path, adapter_type: str) -> None:
    model = new(backbone, adapter_type, templates=TEMPLATES)
    tokenizer = model.processor.tokenizer
    means = []
    for name in NAMES:
        inputs = tokenizer([each.format(name) for each in TEMPLATES], return_tensors="pt", padding=True)
        means.append(model.clip.get_text_features(**inputs).pooler_output.mean(dim=0))
    expected = torch.stack(means).detach()
    torch.testing.assert_close(model.class_weights.detach(), unit(expected), rtol=1e-4, atol=1e-5)
    if adapter_type != "taskres":
        torch.testing.assert_close(model.adapter.weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_text_driven_types_and_tip_use_the_mean_of_unit_features(backbone: Path) -> None:
    zero_shot = ClipZeroShotForImageClassification.from_backbone(backbone, NAMES, TEMPLATES)
    expected = zero_shot.get_text_features().pooler_output
    for adapter_type in ("lp++", "tip_adapter", "tip_adapter_f", "clip_adapter", "prolip"):
        model = new(backbone, adapter_type, templates=TEMPLATES)
        torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-6)
        assert model.class_weights is None


def test_logits_of_every_type_equal_a_reference(backbone: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    for adapter_type in ADAPTER_TYPES:
        model = new(backbone, adapter_type, templates=TEMPLATES).double()
        if adapter_type.startswith("tip"):
            model.adapter.set_keys(unit(features(model, 6, 5).double()), torch.tensor([2, 0, 0, 1, 2, 0]))
            model.config.update({"alpha": 2.5, "beta": 4.0})
        with torch.no_grad():
            for parameter in model.adapter.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        adapter, images = model.adapter, features(model).double()
        scale, text = model.clip.logit_scale.exp().item(), model.text_base()
        rows = []
        for image in images:
            if adapter_type in ("linear", "clap"):
                rows.append(torch.stack([scale * unit(image) @ unit(weight) for weight in adapter.weight]))
            elif adapter_type == "taskres":
                sums = [base + 0.5 * own for base, own in zip(text, adapter.residual, strict=True)]
                rows.append(torch.stack([scale * unit(image) @ unit(each) for each in sums]))
            elif adapter_type == "lp++":
                each = zip(adapter.weight, adapter.bias, adapter.text_weight, text, strict=True)
                rows.append(torch.stack([unit(image) @ (w + a * t) + b for w, b, a, t in each]))
            elif adapter_type.startswith("tip"):
                rows.append(tip_logits(unit(image), adapter.keys.detach(), [2, 0, 0, 1, 2, 0], text, scale, 2.5, 4.0))
            elif adapter_type == "clip_adapter":
                hidden = (adapter.down_proj.weight @ image).clamp(min=0)
                adapted = 0.2 * (adapter.up_proj.weight @ hidden).clamp(min=0) + 0.8 * image
                rows.append(scale * text @ unit(adapted))
            else:
                rows.append(scale * text @ unit(adapter.weight @ image))
        with torch.no_grad():
            logits = model(image_embeds=images).logits
        torch.testing.assert_close(logits, torch.stack(rows).detach().double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("adapter_type", ADAPTER_TYPES)
def test_image_embeds_of_the_output_give_the_same_logits(backbone: Path, adapter_type: str) -> None:
    model = new(backbone, adapter_type)
    model.fit_features(features(model), torch.arange(9) % 3)
    labels = torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        output = model(pixel_values=pixels(model), labels=labels)
        again = model(image_embeds=output.image_embeds, labels=labels)
    torch.testing.assert_close(again.logits, output.logits, rtol=0, atol=0)
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, labels))
    norms = output.text_embeds.norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_tip_adapter_with_alpha_0_is_zero_shot_exactly(backbone: Path) -> None:
    model = new(backbone, "tip_adapter", alpha=0.0, beta=1.0)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(backbone, NAMES)
    assert model.fit_features(features(model), torch.arange(9) % 3) == {"alpha": 0.0, "beta": 1.0}
    with torch.no_grad():
        assert torch.equal(model(pixels(model)).logits, zero_shot(pixels(model)).logits)


@pytest.mark.parametrize("adapter_type", ADAPTER_TYPES)
def test_checkpoint_holds_the_head_alone(backbone: Path, adapter_type: str, tmp_path: Path) -> None:
    model = new(backbone, adapter_type)
    chosen = model.fit_features(features(model), torch.arange(9) % 3)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    dim = model.image_feature_size
    expected = {
        "linear": {"weight": (3, dim)},
        "clap": {"weight": (3, dim)},
        "taskres": {"residual": (3, dim)},
        "lp++": {"weight": (3, dim), "bias": (3,), "text_weight": (3,)},
        "tip_adapter": {"keys": (9, dim)},
        "tip_adapter_f": {"keys": (9, dim)},
        "clip_adapter": {"down_proj.weight": (dim // 4, dim), "up_proj.weight": (dim, dim // 4)},
        "prolip": {"weight": tuple(model.clip.visual_projection.weight.shape)},
    }[adapter_type]
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == {
        f"adapter.{name}": shape for name, shape in expected.items()
    }
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert {name: getattr(loaded.config, name) for name in chosen} == chosen
    with torch.no_grad():
        assert torch.equal(loaded(pixels(model)).logits, model(pixels(model)).logits)


@pytest.mark.parametrize("adapter_type", ["clip_adapter", "prolip"])
def test_types_that_adapt_the_image_accept_other_class_names(backbone: Path, adapter_type: str) -> None:
    model = new(backbone, adapter_type)
    model.fit_features(features(model), torch.arange(9) % 3)
    weights = {name: tensor.clone() for name, tensor in model.adapter.state_dict().items()}
    model.set_classes(["lake", "tree"])
    zero_shot = ClipZeroShotForImageClassification.from_backbone(backbone, ["lake", "tree"])
    expected = zero_shot.get_text_features().pooler_output
    torch.testing.assert_close(model.get_text_features().pooler_output, expected)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.adapter.state_dict().items())
    assert model(pixels(model)).logits.shape == (4, 2)


@pytest.mark.parametrize("adapter_type", sorted(set(ADAPTER_TYPES) - {"clip_adapter", "prolip"}))
def test_types_that_are_bound_to_their_classes_refuse_others(backbone: Path, adapter_type: str) -> None:
    model = new(backbone, adapter_type)
    with pytest.raises(ValueError, match="new classes need images"):
        model.set_classes(["lake", "tree"])
    assert model.config.class_names == NAMES


def test_classes_with_the_same_name_start_with_the_same_weights_and_learn_different_ones(backbone: Path) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(backbone, ["cat", "cat", "dog"])
    assert torch.equal(model.adapter.weight[0], model.adapter.weight[1])
    model.fit_features(features(model), torch.arange(9) % 3)
    assert not torch.allclose(model.adapter.weight[0], model.adapter.weight[1])


def test_sentences_of_classes_are_the_text_side(backbone: Path) -> None:
    sentences = {"cat": ["a small animal.", "it purrs"], "dog": ["it barks"], "the photo": ["a picture on paper"]}
    for adapter_type, normalised in (("clap", False), ("tip_adapter", True)):
        model = new(backbone, adapter_type, class_prompts=sentences)
        expected = []
        for own in sentences.values():
            each = model.clip.get_text_features(
                **model.processor.tokenizer(own, return_tensors="pt", padding=True)
            ).pooler_output
            expected.append((unit(each) if normalised else each).mean(dim=0))
        torch.testing.assert_close(
            unit(model.get_text_features().pooler_output), unit(torch.stack(expected)), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("adapter_type", "settings", "message"),
    [
        ("clap", {"alpha": 1.0}, "clap has no alpha"),
        ("taskres", {"beta": 1.0}, "taskres has no beta"),
        ("tip_adapter", {"ratio": 0.5}, "tip_adapter has no ratio"),
        ("tip_adapter", {"alpha": -1.0}, "alpha must be a number of at least 0"),
        ("tip_adapter", {"beta": math.inf}, "beta must be a number of at least 0"),
        ("clip_adapter", {"ratio": 1.5}, "ratio must be a share"),
        ("adapter", {}, "adapter_type must be one of"),
    ],
)
def test_settings_that_do_not_apply_are_refused(backbone: Path, adapter_type: str, settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new(backbone, adapter_type, **settings)


def test_projection_of_a_siglip_is_refused_by_type(tmp_path: Path) -> None:
    siglip = google_siglip_base_patch16_224(tmp_path)
    with pytest.raises(TypeError, match="a SiglipModel has none"):
        new(siglip, "prolip")


def test_adapter_of_a_siglip_starts_at_its_zero_shot_logits_with_bias(tmp_path: Path) -> None:
    siglip = google_siglip_base_patch16_224(tmp_path)
    model, zero_shot = new(siglip, "clap"), ClipZeroShotForImageClassification.from_backbone(siglip, NAMES)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels(model)).logits, zero_shot(pixels(model)).logits, rtol=1e-5, atol=1e-5)
    model.fit_features(features(model), torch.arange(9) % 3)


def test_bfloat16_backbone_has_a_head_in_full_precision(backbone: Path, tmp_path: Path) -> None:
    model = new(backbone, "clap", dtype=torch.bfloat16)
    assert model.adapter.weight.dtype == torch.float32
    model.fit_features(features(model), torch.arange(9) % 3)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.adapter.weight.dtype == torch.float32
    assert torch.equal(loaded.adapter.weight, model.adapter.weight)
