"""CLIP-LoRA against weights that are merged by hand, against peft, and against zero-shot CLIP."""

import copy
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, CLIPConfig, CLIPModel, PreTrainedTokenizerBase

from hf_prompt_models import ClipLoraConfig, ClipLoraForImageClassification, ClipZeroShotForImageClassification
from tests.prompted_clip_reference import encode_image, plain_text_feature
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import random_image


NAMES = ["cat", "dog in the photo", "an (ox)", "the cat", "cat"]
LABELS = torch.tensor([4, 0, 2])
TEMPLATES = ["a photo of a {}.", "the {} in a photo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP whose towers have different depths."""
    return openai_clip_vit_base_patch32(
        tmp_path_factory.mktemp("hub") / "clip", text_layers=3, vision_layers=4, vision_width=40
    )


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(5))


def build(folder: Path, **settings: Any) -> ClipLoraForImageClassification:
    """A model whose updates are of the size of the weights."""
    model = ClipLoraForImageClassification.from_backbone(folder, NAMES, **settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.low_rank.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
    return model


def merged_logits(
    clip: CLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    pixels: torch.Tensor,
    matrices: dict[str, torch.Tensor],
    scaling: float,
    templates: list[str],
) -> torch.Tensor:
    """Logits of a CLIP whose weights are W + scaling B A; each image and each padded text is encoded by itself."""
    for tower in ("text_model", "vision_model"):
        for index, layer in enumerate(getattr(clip, tower).encoder.layers):
            for letter in "qkv":
                name = f"{tower}.{index}.{letter}"
                if f"{name}.A" in matrices:
                    linear = getattr(layer.self_attn, f"{letter}_proj")
                    weight = linear.weight.detach() + scaling * matrices[f"{name}.B"] @ matrices[f"{name}.A"]
                    del linear.weight
                    linear.weight = weight  # not a parameter, so that gradients reach the matrices
    images = torch.stack([encode_image(clip, each, []) for each in pixels])
    rows = []
    for name in NAMES:
        features = [plain_text_feature(clip, tokenizer, template.format(name)) for template in templates]
        rows.append(F.normalize(torch.stack([F.normalize(each, dim=0) for each in features]).mean(dim=0), dim=0))
    return clip.logit_scale.exp() * images @ torch.stack(rows).T


@pytest.mark.parametrize(
    ("encoder", "rank", "alpha", "templates"),
    [("both", 2, 1.0, TEMPLATES[:1]), ("vision", 1, 2.0, TEMPLATES), ("text", 3, 0.5, TEMPLATES)],
)
def test_logits_and_gradients_are_those_of_merged_weights(
    encoder: str, rank: int, alpha: float, templates: list[str], folder: Path, pixels: torch.Tensor
) -> None:
    model = build(folder, encoder=encoder, rank=rank, lora_alpha=alpha, lora_dropout=0.0, templates=templates).train()
    output = model(pixel_values=pixels, labels=LABELS)
    output.loss.backward()

    parameters = dict(model.low_rank.named_parameters())
    matrices = {name: each.detach().double().requires_grad_() for name, each in parameters.items()}
    clip = CLIPModel.from_pretrained(folder).double()
    logits = merged_logits(
        clip, model.processor.tokenizer, pixels.double(), matrices, alpha / math.sqrt(rank), templates
    )
    loss = F.cross_entropy(logits, LABELS)
    gradients = dict(zip(matrices, torch.autograd.grad(loss, list(matrices.values())), strict=True))

    torch.testing.assert_close(output.logits.double(), logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(output.loss.double(), loss, rtol=1e-5, atol=1e-5)
    for name, parameter in parameters.items():
        difference = (parameter.grad.double() - gradients[name]).norm() / gradients[name].norm()
        assert difference < 1e-4, f"{name}: {difference}"
    assert all(parameter.grad is None for parameter in model.clip.parameters())
    zero_shot = ClipZeroShotForImageClassification.from_backbone(folder, NAMES, templates)
    with torch.no_grad():
        assert (zero_shot(pixels).logits - output.logits).abs().max() > 1  # the updates show


# -- the same as others ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["vision", "text", "both"])
@pytest.mark.parametrize("backbone", ["openai_clip", "metaclip2", "siglip", "siglip2", "naflex"])
def test_new_updates_leave_zero_shot_as_it_is(backbone: str, encoder: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(backbone)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(place, NAMES[:2], TEMPLATES)
    model = ClipLoraForImageClassification.from_backbone(place, NAMES[:2], TEMPLATES, encoder=encoder)
    inputs = dict(model.processor(images=[random_image(0), random_image(1, (30, 70))], return_tensors="pt"))
    with torch.no_grad():
        expected = zero_shot(**inputs).logits
        assert torch.equal(model(**inputs).logits, expected)
        assert torch.equal(model.train()(**inputs).logits, expected)  # dropout of an update that is zero
        for parameter in model.low_rank.parameters():
            parameter.normal_()
        assert not torch.allclose(model.eval()(**inputs).logits, expected, atol=0.1)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft reads it
def test_updates_are_those_of_peft(folder: Path, pixels: torch.Tensor, tmp_path: Path) -> None:
    """In eval mode, and in train mode with the same random numbers for dropout."""
    peft = pytest.importorskip("peft")
    model = build(folder, rank=3, lora_alpha=2.0, lora_dropout=0.4)
    model.save_peft_adapter(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    adapted = peft.PeftModel.from_pretrained(CLIPModel.from_pretrained(folder), tmp_path, is_trainable=True)
    clip = adapted.base_model.model
    for mode in (False, True):
        model.train(mode)
        adapted.train(mode)
        features = []
        for encode in (clip.get_image_features, model.get_image_features):
            torch.manual_seed(7)
            features.append(F.normalize(encode(pixel_values=pixels).pooler_output, dim=-1))
        torch.testing.assert_close(features[1], features[0], rtol=0, atol=1e-6)
    features[0][:, 0].sum().backward()
    features[1][:, 0].sum().backward()
    theirs = {name: each.grad for name, each in adapted.named_parameters() if each.grad is not None}
    for name, update in model.named_updates("vision_model").items():
        for matrix in "AB":
            expected = theirs[f"base_model.model.{name}.lora_{matrix}.default.weight"]
            torch.testing.assert_close(update.get_parameter(matrix).grad, expected, rtol=1e-4, atol=1e-6)
    tokens = model.processor.tokenizer(["a photo of a cat."], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        expected = clip.eval().get_text_features(**tokens).pooler_output[0]
        torch.testing.assert_close(model.eval().get_text_features().pooler_output[0], F.normalize(expected, dim=0))


def test_the_number_of_trained_parameters_on_vit_b_16_is_the_papers() -> None:
    sizes = {"both": 184_320, "text": 73_728, "vision": 110_592}
    for encoder, expected in sizes.items():
        with torch.device("meta"):
            model = ClipLoraForImageClassification(
                ClipLoraConfig(clip_config=CLIPConfig(vision_config={"patch_size": 16}).to_dict(), encoder=encoder)
            )
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        assert sum(each.numel() for each in trained.values()) == expected
        model._set_weights_scope("prompt")
        assert set(model.state_dict()) - set(model._keys_to_ignore_on_save) == set(trained)


# -- the backbone stays as it is -------------------------------------------------------------------------------------


def test_the_backbone_alone_computes_what_it_did(folder: Path, pixels: torch.Tensor) -> None:
    model, plain = build(folder), ClipZeroShotForImageClassification.from_backbone(folder, NAMES).clip
    with torch.no_grad():
        model(pixels)
        expected = plain.get_image_features(pixels).pooler_output
        assert torch.equal(model.clip.get_image_features(pixels).pooler_output, expected)
        # What shares the backbone, such as the comparison on the web page, is not updated either.
        zero_shot = ClipZeroShotForImageClassification.from_backbone(folder, NAMES)
        shared = ClipZeroShotForImageClassification(zero_shot.config, model.clip).eval()
        assert torch.equal(shared(pixels).logits, zero_shot(pixels).logits)
    assert str(model.clip) == str(plain)


def test_a_copy_of_the_model_has_updates_of_its_own(folder: Path, pixels: torch.Tensor) -> None:
    model = build(folder)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(pixels).logits
        assert torch.equal(copied(pixels).logits, expected)
        for parameter in copied.low_rank.parameters():
            parameter.zero_()
        assert torch.equal(model(pixels).logits, expected)
        assert not torch.allclose(copied(pixels).logits, expected, atol=0.1)


def wrapped(clip: CLIPModel) -> None:
    """As hooks of accelerate do for a model that is split over devices."""
    layer = clip.vision_model.encoder.layers[1]
    layer.forward = partial(type(layer).forward, layer)


def nested(clip: CLIPModel) -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module):
            super().__init__()
            self.module = module

        def __getattr__(self, name: str) -> Any:
            return getattr(self._modules["module"], name) if name != "module" else self._modules["module"]

    clip.vision_model.encoder.layers[1] = Wrapper(clip.vision_model.encoder.layers[1])


@pytest.mark.parametrize("wrap", [wrapped, nested])
def test_a_backbone_that_would_run_without_the_updates_is_refused(
    wrap: Callable[[CLIPModel], None], folder: Path, pixels: torch.Tensor
) -> None:
    model = build(folder)
    wrap(model.clip)
    with pytest.raises(ValueError, match="on one device"):
        model(pixels)


# -- class features --------------------------------------------------------------------------------------------------


def counted(model: ClipLoraForImageClassification) -> list[int]:
    calls: list[int] = []
    model.clip.text_model.embeddings.token_embedding.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_class_features_are_computed_once_as_long_as_the_updates_stay(folder: Path) -> None:
    model = build(folder).eval()
    calls = counted(model)
    with torch.no_grad():
        first = model.get_text_features().pooler_output
        assert torch.equal(model.get_text_features().pooler_output, first)
        assert len(calls) == 1
        model.low_rank.text_model[2]["v"].B[0, 0] += 1
        assert not torch.equal(model.get_text_features().pooler_output, first)
        model.low_rank.vision_model[0]["q"].A[0, 0] += 1
        model.get_text_features()
    assert len(calls) == 2


def test_class_features_of_a_frozen_text_tower_are_computed_once_in_training(
    folder: Path, pixels: torch.Tensor
) -> None:
    model = build(folder, encoder="vision").train()
    calls = counted(model)
    for _ in range(2):
        model(pixels, labels=LABELS).loss.backward()
    assert len(calls) == 1


def test_dropout_is_sampled_in_each_training_step_and_never_in_testing(folder: Path) -> None:
    model = build(folder).train()
    with torch.no_grad():
        some, others = (model.get_text_features().pooler_output for _ in range(2))
        assert not torch.allclose(some, others, atol=1e-3)
        model.eval()
        tested = model.get_text_features().pooler_output
        assert torch.equal(build(folder).eval().get_text_features().pooler_output, tested)
    assert not torch.allclose(tested, others, atol=1e-3)


def test_new_classes_equal_a_fresh_model_with_the_same_updates(folder: Path, pixels: torch.Tensor) -> None:
    model, expected = build(folder, templates=TEMPLATES), None
    model.set_classes(["ox", "the dog"])
    fresh = ClipLoraForImageClassification.from_backbone(folder, ["ox", "the dog"], TEMPLATES)
    fresh.low_rank.load_state_dict(model.low_rank.state_dict())
    with torch.no_grad():
        expected = fresh(pixels).logits
        assert expected.shape == (3, 2)
        assert torch.equal(model(pixels).logits, expected)


@pytest.mark.parametrize(("encoder", "fixed"), [("text", True), ("vision", False), ("both", False)])
def test_image_features_are_fixed_if_only_text_is_updated(encoder: str, fixed: bool, folder: Path) -> None:
    model = build(folder, encoder=encoder)
    assert model.has_fixed_image_features == fixed
    assert model.compares_fixed_features == fixed


# -- memory ----------------------------------------------------------------------------------------------------------


def test_gradient_checkpointing_recomputes_layers_and_keeps_gradients(folder: Path, pixels: torch.Tensor) -> None:
    found, runs = [], []
    for checkpointing in (False, True):
        model = build(folder, lora_dropout=0.0).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        calls: list[int] = []
        model.clip.vision_model.encoder.layers[1].layer_norm1.register_forward_hook(
            lambda *_, calls=calls: calls.append(1)
        )
        model(pixels, labels=LABELS).loss.backward()
        assert not any(module.training for module in model.clip.modules())
        found.append({name: each.grad for name, each in model.low_rank.named_parameters()})
        runs.append(len(calls))
    assert runs == [1, 2]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_chunks_of_prompts_keep_gradients(folder: Path, pixels: torch.Tensor) -> None:
    gradients = []
    for chunk_size in (None, 2):
        model = build(folder, lora_dropout=0.0, text_chunk_size=chunk_size, templates=TEMPLATES).train()
        model(pixels, labels=LABELS).loss.backward()
        gradients.append(model.low_rank.text_model[0]["k"].A.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


# -- refused ---------------------------------------------------------------------------------------------------------


def fused(clip: CLIPModel, tower: str) -> CLIPModel:
    """A tower whose attention has one matrix for all three projections, as open_clip's."""
    for layer in getattr(clip, tower).encoder.layers:
        layer.self_attn = nn.MultiheadAttention(layer.self_attn.embed_dim, 4)
    return clip


@pytest.mark.parametrize(
    ("tower", "kind", "other"), [("text_model", "text", "vision"), ("vision_model", "image", "text")]
)
def test_a_tower_without_the_projections_is_refused_with_the_way_out(
    tower: str, kind: str, other: str, folder: Path
) -> None:
    clip_config = CLIPConfig.from_pretrained(folder).to_dict()
    for encoder in ("both", {"text": "vision", "vision": "text"}[other]):
        with pytest.raises(TypeError, match=rf"{kind} encoder of a CLIPModel does not have\. Pass encoder='{other}'"):
            ClipLoraForImageClassification(
                ClipLoraConfig(clip_config=clip_config, encoder=encoder),
                fused(CLIPModel.from_pretrained(folder), tower),
            )
    config = ClipLoraConfig(clip_config=clip_config, encoder=other)
    ClipLoraForImageClassification(config, fused(CLIPModel.from_pretrained(folder), tower))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"rank": 33}, "rank must be at most 32, .* got 33"),
        ({"lora_alpha": 0}, "lora_alpha must be a number above 0, got 0"),
        ({"lora_alpha": math.inf}, "above 0, got inf"),
        ({"lora_dropout": 1.0}, "lora_dropout must be at least 0 and below 1, got 1"),
        ({"lora_dropout": math.nan}, "lora_dropout must be"),
        ({"encoder": "image"}, "encoder"),
        ({"text_chunk_size": 0}, "text_chunk_size must be at least 1"),
        ({"templates": ["a photo"]}, "a photo"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], said: str, folder: Path) -> None:
    with pytest.raises((ValueError, StrictDataclassError), match=said):
        ClipLoraForImageClassification.from_backbone(folder, NAMES, **setting)


def test_a_checkpoint_with_an_enormous_rank_is_refused_before_it_is_built(folder: Path, tmp_path: Path) -> None:
    build(folder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"rank": 10**12}))
    with pytest.raises(ValueError, match=r"rank must be at most 32, .* got 1000000000000"):
        AutoModelForImageClassification.from_pretrained(tmp_path)
