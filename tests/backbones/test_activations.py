"""QuickGELU has the values and gradients of the formula, and models of this package use it."""

from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from transformers import CLIPModel
from transformers.activations import QuickGELUActivation

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.backbones.activations import QuickGELU


def values(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    given = torch.tensor([-60.0, -3.0, -1e-3, 0.0, 1e-3, 0.7, 4.0, 60.0], dtype=dtype)
    return torch.cat([given, torch.randn(40, generator=torch.Generator().manual_seed(0)).to(dtype)])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)]
)
def test_values_are_those_of_the_formula(dtype: torch.dtype, tolerance: float) -> None:
    given = values(dtype)
    before = given.clone()
    exact = given.double() / (1 + torch.exp(-1.702 * given.double()))
    torch.testing.assert_close(QuickGELU()(given).double(), exact, rtol=tolerance, atol=tolerance)
    assert torch.equal(given, before)  # hooks of the layer before it see what that layer returned


def test_first_and_second_derivatives_are_those_of_the_function() -> None:
    given = values()[3:].requires_grad_()
    assert gradcheck(QuickGELU(), given)
    assert gradgradcheck(QuickGELU(), given)
    (gradient,) = torch.autograd.grad(QuickGELU()(given).sum(), given)
    (expected,) = torch.autograd.grad(QuickGELUActivation()(given).sum(), given)
    torch.testing.assert_close(gradient, expected)


def test_function_transforms_apply() -> None:
    given = values()
    per_value = torch.vmap(torch.func.grad(lambda value: QuickGELU()(value)))(given)
    (expected,) = torch.autograd.grad(QuickGELUActivation()(given.requires_grad_()).sum(), given)
    torch.testing.assert_close(per_value, expected)


def test_both_towers_use_it_and_encode_as_in_transformers(openai_clip: Path) -> None:
    plain = CLIPModel.from_pretrained(openai_clip)
    model = CoOpForImageClassification.from_backbone(openai_clip, ["cat", "dog"])
    layers = [layer for tower in (model.clip.text_model, model.clip.vision_model) for layer in tower.encoder.layers]
    assert {type(layer.mlp.activation_fn) for layer in layers} == {QuickGELU}
    assert model.clip.state_dict().keys() == plain.state_dict().keys()
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = plain.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(model.clip.get_image_features(pixel_values=pixels).pooler_output, expected)


def test_other_activations_stay(modern_clip: Path, tmp_path: Path) -> None:
    clip = CLIPModel.from_pretrained(modern_clip)
    clip.config.vision_config.hidden_act = "gelu"
    clip.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (modern_clip / name).exists():
            (tmp_path / name).write_bytes((modern_clip / name).read_bytes())
    model = CoOpForImageClassification.from_backbone(tmp_path, ["cat", "dog"])
    assert type(model.clip.vision_model.encoder.layers[0].mlp.activation_fn).__name__ == "GELUActivation"
