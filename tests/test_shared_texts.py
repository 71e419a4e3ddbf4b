"""Hand-written prompts are encoded once for models with the same text tower, and again for another one."""

import torch

from hf_prompt_models import ActionClipForVideoClassification, ClipZeroShotForImageClassification
from hf_prompt_models.modeling_text_prompt_utils import TextPromptModel, shared_texts
from hf_prompt_models.modeling_utils import loaded_backbones


NAMES = ["ring", "cross", "star"]


def features(model: ClipZeroShotForImageClassification) -> torch.Tensor:
    return model.get_text_features().pooler_output


def test_prompts_are_encoded_again_for_other_weights_or_names(monkeypatch) -> None:
    runs: list[object] = []
    original = TextPromptModel._run_prompts
    monkeypatch.setattr(TextPromptModel, "_run_prompts", lambda *a: runs.append(a) or original(*a))
    models = [ClipZeroShotForImageClassification.from_backbone("playground", NAMES) for _ in range(4)]
    with torch.no_grad():
        models[2].clip.text_model.encoder.layers[0].mlp.fc1.weight.mul_(1.5)
    models[3].set_classes(NAMES[::-1])
    alone = [features(model) for model in models]
    for model in models:
        model._text_cache = None
    runs.clear()
    with shared_texts({}):
        together = [features(model) for model in models]
    assert len(runs) == 3  # the second model has the prompts and the weights of the first
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(together[0], together[2])


def test_models_share_the_memory_of_a_frozen_backbone_and_are_converted_alone() -> None:
    kept: dict = {}
    with loaded_backbones(kept):
        first, second = (ClipZeroShotForImageClassification.from_backbone("playground", NAMES) for _ in range(2))
    assert len(kept) == 1
    addresses = [[each.data_ptr() for each in model.clip.parameters()] for model in (first, second)]
    assert addresses[0] == addresses[1]
    before = features(second).clone()
    first.double().requires_grad_(True)
    assert second.dtype == torch.float32
    assert not any(each.requires_grad for each in second.clip.parameters())
    second._text_cache = None
    torch.testing.assert_close(features(second), before, rtol=0, atol=0)


def test_a_trained_backbone_does_not_share_its_memory() -> None:
    kept: dict = {}
    with loaded_backbones(kept):
        frozen, trained = (
            ActionClipForVideoClassification.from_backbone("playground", NAMES, trainable=part)
            for part in ("head", "image")
        )
    values = [each.clone() for each in frozen.clip.parameters()]
    parameters = list(trained.trained_backbone_parameters())
    assert parameters
    assert len(kept) == 1
    with torch.no_grad():
        for each in parameters:
            each.zero_()
    for each, value in zip(frozen.clip.parameters(), values, strict=True):
        torch.testing.assert_close(each.data, value, rtol=0, atol=0)
    shared = {each.data_ptr() for each in frozen.clip.parameters()}
    assert shared > {each.data_ptr() for each in trained.clip.text_model.parameters()}  # the frozen tower is shared
