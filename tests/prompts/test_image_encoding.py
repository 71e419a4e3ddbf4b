"""With `pooled_only`, image features are those of the complete tower, and the last layer computes less."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from hf_prompt_models import (
    ClipLoraForImageClassification,
    ClipZeroShotForImageClassification,
    FeatureAdapterForImageClassification,
    IVLPForImageClassification,
    MMRLForImageClassification,
)


CLASS_TOKENS = ("openai_clip", "modern_clip", "metaclip2", "chinese_clip", "altclip")
NAMES = ["cat", "dog"]


def pixels(model: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = [torch.randint(256, (3, 40, 50), generator=generator, dtype=torch.uint8) for _ in range(3)]
    return dict(model.processor(images=images, return_tensors="pt"))


@contextmanager
def tokens_of_the_last_layer(model: Any) -> Iterator[list[int]]:
    """Record the number of tokens of each image in the feed-forward part of the last layer."""
    counts: list[int] = []

    def record(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        counts.append(inputs[0].shape[1])

    hook = model.clip.vision_model.encoder.layers[-1].mlp.register_forward_pre_hook(record)
    yield counts
    hook.remove()


@pytest.mark.parametrize("backbone", [*CLASS_TOKENS, "siglip"])
def test_pooled_features_are_those_of_the_complete_tower(backbone: str, request: pytest.FixtureRequest) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(request.getfixturevalue(backbone), NAMES)
    inputs = pixels(model)
    complete = model.get_image_features(**inputs)
    assert complete.last_hidden_state.shape[0] == 3
    with tokens_of_the_last_layer(model) as counts, torch.no_grad():
        pooled = model.get_image_features(**inputs, pooled_only=True)
        logits = model(**inputs).logits
    torch.testing.assert_close(pooled.pooler_output, complete.pooler_output)
    torch.testing.assert_close(logits, model(image_embeds=complete.pooler_output).logits)
    if backbone in CLASS_TOKENS:
        assert counts == [1, 1]
        assert pooled.last_hidden_state is None
    else:
        assert min(counts) > 1


@pytest.mark.parametrize("adapter_type", ["clap", "prolip"])
def test_feature_adapters_read_pooled_features(adapter_type: str, openai_clip: Any) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(openai_clip, NAMES, adapter_type=adapter_type)
    inputs = pixels(model)
    torch.testing.assert_close(
        model.get_image_features(**inputs, pooled_only=True).pooler_output,
        model.get_image_features(**inputs).pooler_output,
    )


@pytest.mark.parametrize(
    ("method", "settings", "read"),
    [
        (IVLPForImageClassification, {"text_depth": 2, "vision_depth": 2}, 1),
        (MMRLForImageClassification, {"first_layer": 1, "n_rep": 5}, 1 + 5),
    ],
)
def test_towers_with_prompts_read_the_same_features_and_gradients(
    method: Any, settings: dict[str, int], read: int, openai_clip: Any
) -> None:
    model = method.from_backbone(openai_clip, NAMES, **settings)
    inputs = pixels(model)
    found = []
    with tokens_of_the_last_layer(model) as counts:
        for pooled_only in (False, True):
            images = model.get_image_features(**inputs, pooled_only=pooled_only)
            features = [images.pooler_output]
            if method is MMRLForImageClassification:
                features.append(images.representation_embeds)
            model.zero_grad()
            sum((each * torch.arange(each.numel()).view_as(each)).sum() for each in features).backward()
            gradients = [each.grad for each in model.prompt_learner.parameters() if each.grad is not None]
            found.append((features, [each.clone() for each in gradients]))
    assert counts[0] > read == counts[1]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    assert len(found[0][1]) > 0


def test_updates_of_the_image_tower_are_applied_in_its_last_layer(openai_clip: Any) -> None:
    model = ClipLoraForImageClassification.from_backbone(openai_clip, NAMES, encoder="vision").eval()
    with torch.no_grad():
        for each in model.low_rank.parameters():
            each.normal_(std=0.3, generator=torch.Generator().manual_seed(2))
    inputs = pixels(model)
    complete = model.get_image_features(**inputs).pooler_output
    torch.testing.assert_close(model.get_image_features(**inputs, pooled_only=True).pooler_output, complete)
    plain = ClipZeroShotForImageClassification.from_backbone(openai_clip, NAMES)
    assert not torch.allclose(plain.get_image_features(**inputs).pooler_output, complete, atol=1e-3)
