"""Zero-shot CLIP: one template equals CLIP itself, and features of several templates are averaged and normalised."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import ClipZeroShotForImageClassification
from hf_prompt_models.prompts.templates import IMAGENET_TEMPLATES_SELECT
from tests.full_length_reference import ensemble_text_features
from tests.tested_method import random_image


NAMES = ["cat", "dog", "cat", "sea_or_lake", "kite (bird of prey)", "Mexican hairless"]


def zero_shot(folder: Path, names: list[str] | None = None, **kwargs: object) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(folder, class_names=names or NAMES, **kwargs)


def text_features(model: ClipZeroShotForImageClassification) -> torch.Tensor:
    return model.get_text_features().pooler_output


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("backbone", ["openai_clip", "modern_clip"])
@torch.no_grad()
def test_one_template_equals_clip_itself(backbone: str, attention: str, request: pytest.FixtureRequest) -> None:
    model = zero_shot(request.getfixturevalue(backbone), attn_implementation=attention)
    pixels = torch.randn(4, 3, 224, 224)
    prompts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    tokens = model.processor.tokenizer(prompts, padding="max_length", return_tensors="pt")
    expected = model.clip(pixel_values=pixels, **tokens).logits_per_image
    torch.testing.assert_close(model(pixel_values=pixels).logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("backbone", ["siglip", "siglip2", "naflex", "metaclip2"])
@torch.no_grad()
def test_one_template_equals_any_other_backbone_itself(
    backbone: str, attention: str, request: pytest.FixtureRequest
) -> None:
    model = zero_shot(request.getfixturevalue(backbone), attn_implementation=attention)
    images = model.processor(images=[random_image(0), random_image(1, (30, 90))], return_tensors="pt")
    prompts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    ids = model.processor.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
    expected = model.clip(**images, input_ids=ids).logits_per_image
    torch.testing.assert_close(model(**images).logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backbone", ["openai_clip", "modern_clip", "siglip", "naflex", "metaclip2"])
@torch.no_grad()
def test_an_ensemble_equals_the_written_out_formula(backbone: str, request: pytest.FixtureRequest) -> None:
    model = zero_shot(request.getfixturevalue(backbone), templates=IMAGENET_TEMPLATES_SELECT)
    expected = ensemble_text_features(model.clip, model.processor.tokenizer, NAMES, IMAGENET_TEMPLATES_SELECT)
    torch.testing.assert_close(text_features(model), expected, rtol=0, atol=1e-6)


def test_braces_in_a_name_are_its_own(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, ["set {}"], templates=["the {} set"])
    ids = [int(token) for token in model.config.prompt_token_ids[0].split()]
    assert ids == model.processor.tokenizer("the set {} set").input_ids


def test_a_list_of_templates_is_asked_for(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="list"):
        zero_shot(openai_clip, templates="a photo of a {}.")


@pytest.mark.parametrize("templates", [["a photo."], ["a photo of a {}.", "a {} or a {}."]])
def test_a_template_without_just_one_place_for_the_name_is_named(templates: list[str], openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="exactly once") as error:
        zero_shot(openai_clip, templates=templates)
    assert repr(templates[-1]) in str(error.value)


def test_a_name_too_long_for_one_of_the_templates_is_named(openai_clip: Path) -> None:
    """77 positions less start, "a photo of a", full stop and end are 70."""
    zero_shot(openai_clip, ["cat", " ".join("x" * 70)], templates=["a photo of a {}."])
    long = " ".join("x" * 71)
    with pytest.raises(ValueError, match=f"'{long}' has 71 tokens, but only 70 fit") as error:
        zero_shot(openai_clip, ["cat", long], templates=["{}", "a photo of a {}."])
    assert "'cat'" not in str(error.value)


def test_new_classes_keep_the_templates_and_equal_a_fresh_model(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, templates=["itap of a {}.", "art of the {}."])
    model.set_classes(["zebra", "cat"], tokenizer=model.processor)
    expected = zero_shot(openai_clip, ["zebra", "cat"], templates=["itap of a {}.", "art of the {}."])
    assert torch.equal(text_features(model), text_features(expected))
    model.set_classes(["zebra", "cat"], templates=["{}"])
    assert torch.equal(text_features(model), text_features(zero_shot(openai_clip, ["zebra", "cat"], templates=["{}"])))


def test_templates_survive_saving(openai_clip: Path, tmp_path: Path) -> None:
    model = zero_shot(openai_clip, templates=IMAGENET_TEMPLATES_SELECT)
    model.save_pretrained(tmp_path)
    loaded = ClipZeroShotForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.templates == list(IMAGENET_TEMPLATES_SELECT)
    assert loaded.config.class_names == NAMES
    assert torch.equal(text_features(loaded), text_features(model))
