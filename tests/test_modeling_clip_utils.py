"""Features of both towers, and text features that are recomputed only after a change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from tests.tested_method import random_image


NAMES = ["cat", "dog", "the photo"]
IMAGES = torch.eye(24)


@pytest.fixture
def coop(openai_clip: Path) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(openai_clip, class_names=NAMES, n_ctx=4)


@pytest.fixture
def zero_shot(openai_clip: Path) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(openai_clip, class_names=NAMES)


@contextmanager
def counting(model: CoOpForImageClassification | ClipZeroShotForImageClassification) -> Iterator[list[int]]:
    """Record the calls of the text encoder."""
    calls: list[int] = []
    hook = model.clip.text_model.encoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


def fresh(model: CoOpForImageClassification) -> torch.Tensor:
    """Features without any cache."""
    with torch.enable_grad():
        return model.get_text_features().pooler_output.detach()


# -- features --------------------------------------------------------------------------------------------------------


def test_features_are_normalised_and_the_backbones_own(coop: CoOpForImageClassification) -> None:
    pixels = coop.processor(images=[random_image(0), random_image(1)], return_tensors="pt").pixel_values
    features = coop.get_image_features(pixel_values=pixels).pooler_output
    expected = F.normalize(coop.clip.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
    assert torch.equal(features, expected)
    assert features.shape == (2, 24)
    torch.testing.assert_close(coop.get_text_features().pooler_output.norm(dim=-1), torch.ones(3))


def test_the_output_holds_both_features_and_their_logits(coop: CoOpForImageClassification) -> None:
    pixels = torch.randn(2, 3, 224, 224)
    output = coop(pixel_values=pixels, labels=torch.tensor([0, 2]))
    images = coop.get_image_features(pixel_values=pixels, pooled_only=True)
    assert torch.equal(output.image_embeds, images.pooler_output)
    assert torch.equal(output.text_embeds, coop.get_text_features().pooler_output)
    assert list(output) == ["loss", "logits", "image_embeds"]  # each item has a row an image
    expected = coop.clip.logit_scale.exp() * output.image_embeds @ output.text_embeds.T
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.loss, F.cross_entropy(expected, torch.tensor([0, 2])))


def test_features_computed_before_give_the_same_logits(coop: CoOpForImageClassification) -> None:
    pixels = torch.randn(2, 3, 224, 224)
    expected = coop(pixel_values=pixels).logits
    raw = coop.clip.get_image_features(pixel_values=pixels).pooler_output
    for embeds in (raw, F.normalize(raw, dim=-1)):
        torch.testing.assert_close(coop(image_embeds=embeds).logits, expected, rtol=0, atol=1e-4)


def test_pixels_and_features_together_or_neither_are_refused(coop: CoOpForImageClassification) -> None:
    for inputs in ({}, {"pixel_values": torch.zeros(1, 3, 224, 224), "image_embeds": IMAGES[:1]}):
        with pytest.raises(ValueError, match="either pixel_values or image_embeds"):
            coop(**inputs)


def test_a_tuple_is_returned_on_demand(coop: CoOpForImageClassification) -> None:
    output = coop(image_embeds=IMAGES, labels=torch.zeros(24, dtype=torch.long))
    as_tuple = coop(image_embeds=IMAGES, labels=torch.zeros(24, dtype=torch.long), return_dict=False)
    for one, other in zip(as_tuple, output.to_tuple(), strict=True):
        assert torch.equal(one, other)


# -- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_text_is_encoded_once_where_no_gradient_is_wanted(coop: CoOpForImageClassification, guard: Callable) -> None:
    expected = fresh(coop)
    with counting(coop) as calls, guard():
        for _ in range(3):
            assert torch.equal(coop(image_embeds=IMAGES).text_embeds, expected)
    assert len(calls) == 1


def test_text_without_anything_learned_is_encoded_once_under_grad_too(
    zero_shot: ClipZeroShotForImageClassification,
) -> None:
    with counting(zero_shot) as calls:
        for _ in range(3):
            zero_shot(image_embeds=IMAGES)
    assert len(calls) == 1


def _assign(model: CoOpForImageClassification) -> None:
    model.prompt_learner.context.data = torch.randn(4, 32)


def _fill_data(model: CoOpForImageClassification) -> None:
    model.prompt_learner.context.data.copy_(torch.randn(4, 32))


def _optimise(model: CoOpForImageClassification) -> None:
    with torch.enable_grad():
        model(image_embeds=IMAGES, labels=torch.arange(24) % 3).loss.backward()
    torch.optim.SGD([model.prompt_learner.context], lr=0.1).step()


def _load_state(model: CoOpForImageClassification) -> None:
    model.load_state_dict({"prompt_learner.context": torch.randn(4, 32)}, strict=False)


def _replace(model: CoOpForImageClassification) -> None:
    model.prompt_learner.context = torch.nn.Parameter(torch.randn(4, 32))


@pytest.mark.parametrize("change", [_assign, _fill_data, _optimise, _load_state, _replace])
def test_a_changed_context_is_encoded_again(coop: CoOpForImageClassification, change: Callable) -> None:
    with torch.no_grad():
        before = coop.get_text_features().pooler_output
        change(coop)
        after = coop.get_text_features().pooler_output
    assert torch.equal(after, fresh(coop))
    assert not torch.allclose(after, before, atol=1e-3)


@torch.no_grad()
def test_other_classes_are_encoded_again(
    coop: CoOpForImageClassification, zero_shot: ClipZeroShotForImageClassification
) -> None:
    for model in (coop, zero_shot):
        before = model.get_text_features().pooler_output
        model.set_classes(["bird", "dog"])
        after = model.get_text_features().pooler_output
        assert after.shape == (2, 24)
        torch.testing.assert_close(after[1], before[1], rtol=0, atol=1e-6)
        assert not torch.allclose(after[0], before[0], atol=1e-3)
        model.set_classes(NAMES)
        torch.testing.assert_close(model.get_text_features().pooler_output, before, rtol=0, atol=1e-6)


@torch.no_grad()
def test_another_dtype_is_encoded_again(
    coop: CoOpForImageClassification, zero_shot: ClipZeroShotForImageClassification
) -> None:
    for model in (coop, zero_shot):
        full = model.get_text_features().pooler_output
        model.to(torch.bfloat16)
        half = model.get_text_features().pooler_output
        assert half.dtype == torch.float32  # the tower's work is in half precision, similarities are not
        torch.testing.assert_close(half, full, rtol=0, atol=0.05)
        assert not torch.equal(half, full)


@torch.no_grad()
def test_features_of_autocast_are_not_those_of_full_precision(coop: CoOpForImageClassification) -> None:
    full = coop.get_text_features().pooler_output
    with torch.autocast("cpu", torch.bfloat16):
        half = coop.get_text_features().pooler_output
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)
    assert not torch.equal(half, full)
    assert torch.equal(coop.get_text_features().pooler_output, full)


def test_features_are_differentiable_in_eval_mode(coop: CoOpForImageClassification) -> None:
    coop.eval()
    with torch.no_grad():
        coop.get_text_features()
    coop.get_text_features().pooler_output.sum().backward()
    assert coop.prompt_learner.context.grad.abs().max() > 0


@pytest.mark.parametrize("images", ["pixel_values", "image_embeds"])
def test_gradients_flow_after_inference_mode(coop: CoOpForImageClassification, images: str) -> None:
    inputs = (
        {"pixel_values": torch.randn(2, 3, 224, 224)} if images == "pixel_values" else {"image_embeds": IMAGES[:2]}
    )
    with torch.inference_mode():
        coop(**inputs)
    coop(**inputs, labels=torch.tensor([0, 1])).loss.backward()
    assert coop.prompt_learner.context.grad.abs().max() > 0


def test_cached_features_can_take_part_in_a_graph_after_inference_mode(
    zero_shot: ClipZeroShotForImageClassification,
) -> None:
    with torch.inference_mode():
        zero_shot(image_embeds=IMAGES)
    images = IMAGES.clone().requires_grad_()
    zero_shot(image_embeds=images, labels=torch.zeros(24, dtype=torch.long)).loss.backward()
    assert images.grad.abs().max() > 0


def test_a_frozen_prompt_is_encoded_once_under_grad_too(coop: CoOpForImageClassification) -> None:
    coop.requires_grad_(False)
    with counting(coop) as calls:
        for _ in range(2):
            coop(image_embeds=IMAGES)
    assert len(calls) == 1


@torch.no_grad()
def test_what_a_caller_does_to_features_does_not_reach_the_cache(coop: CoOpForImageClassification) -> None:
    expected = coop.get_text_features().pooler_output.clone()
    coop.get_text_features().pooler_output.mul_(0)
    assert torch.equal(coop.get_text_features().pooler_output, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_under_autocast_are_not_rounded_to_half_precision(
    coop: CoOpForImageClassification, dtype: torch.dtype
) -> None:
    """At CLIP's temperature of 100 bfloat16 would leave steps of a half between logits."""
    with torch.no_grad(), torch.autocast("cpu", dtype):
        output = coop(image_embeds=IMAGES)
    expected = 100 * torch.nn.functional.normalize(IMAGES, dim=-1) @ output.text_embeds.T
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_training_under_autocast_keeps_the_prompt_and_its_gradient_in_full_precision(
    coop: CoOpForImageClassification, dtype: torch.dtype
) -> None:
    labels = torch.arange(24) % 3
    coop(image_embeds=IMAGES, labels=labels).loss.backward()
    full, coop.context.grad = coop.context.grad, None
    with torch.autocast("cpu", dtype):
        loss = coop(image_embeds=IMAGES, labels=labels).loss
    loss.backward()
    assert coop.context.dtype == coop.context.grad.dtype == loss.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(full.flatten(), coop.context.grad.flatten(), dim=0) > 0.98


# -- whatever the features depend on ---------------------------------------------------------------------------------


def _one_weight(model: CoOpForImageClassification) -> None:
    weight = model.clip.text_model.encoder.layers[1].mlp.fc1.weight
    weight[3, 5] += 2


def _one_weight_behind_autograd(model: CoOpForImageClassification) -> None:
    model.clip.text_model.final_layer_norm.bias.data[0] += 2


def _permuted_projection(model: CoOpForImageClassification) -> None:
    weight = model.clip.get_submodule("text_projection").weight
    weight.data.copy_(weight.data.flip(0, 1))


def _word(model: CoOpForImageClassification) -> None:
    token = int(model.processor.tokenizer("dog", add_special_tokens=False).input_ids[0])
    model.clip.text_model.embeddings.token_embedding.weight.data[token, 0] += 3


def _tower_from_state_dict(model: CoOpForImageClassification) -> None:
    state = model.clip.text_model.state_dict()
    model.clip.text_model.load_state_dict({name: 1.1 * tensor for name, tensor in state.items()})


def _tower_by_optimizer(model: CoOpForImageClassification) -> None:
    weight = model.clip.text_model.encoder.layers[0].self_attn.v_proj.weight.requires_grad_(True)
    with torch.enable_grad():
        model(image_embeds=IMAGES, labels=torch.arange(24) % 3).loss.backward()
    torch.optim.SGD([weight], lr=1.0).step()
    weight.requires_grad_(False)


def _other_layer(model: CoOpForImageClassification) -> None:
    layers = model.clip.text_model.encoder.layers
    layers[0] = layers[1]


def _other_activation(model: CoOpForImageClassification) -> None:
    model.clip.text_model.encoder.layers[0].mlp.activation_fn = torch.nn.Tanh()


def _more_words(model: CoOpForImageClassification) -> None:
    weight = model.clip.text_model.embeddings.token_embedding.weight
    model.clip.text_model.resize_token_embeddings(len(weight) + 5, mean_resizing=False)
    model.clip.text_model.embeddings.token_embedding.weight.data[:] *= 1.2


def _classes_in_the_configuration(model: CoOpForImageClassification) -> None:
    field = "class_token_ids" if isinstance(model, CoOpForImageClassification) else "prompt_token_ids"
    prompts = list(getattr(model.config, field))
    setattr(model.config, field, [prompts[2], *prompts[1:]])
    if field == "class_token_ids":
        lengths = model.config.class_name_lengths
        model.config.class_name_lengths = [lengths[2], *lengths[1:]]


@pytest.mark.parametrize("kind", ["coop", "zero_shot"])
@pytest.mark.parametrize(
    "change",
    [
        _one_weight,
        _one_weight_behind_autograd,
        _permuted_projection,
        _word,
        _tower_from_state_dict,
        _tower_by_optimizer,
        _other_layer,
        _other_activation,
        _more_words,
        _classes_in_the_configuration,
    ],
)
@torch.no_grad()
def test_any_change_of_the_text_side_is_seen(
    change: Callable, kind: str, coop: CoOpForImageClassification, zero_shot: ClipZeroShotForImageClassification
) -> None:
    model = coop if kind == "coop" else zero_shot
    if kind == "zero_shot" and change is _tower_by_optimizer:
        model.requires_grad_(False)
    before = model(image_embeds=IMAGES).logits
    change(model)
    after = model(image_embeds=IMAGES).logits
    model._text_cache = model._prompts = None
    assert torch.equal(after, model(image_embeds=IMAGES).logits)
    assert not torch.allclose(after, before, atol=1e-4)


@torch.no_grad()
def test_a_changed_temperature_is_seen(coop: CoOpForImageClassification) -> None:
    before = coop(image_embeds=IMAGES).logits
    coop.clip.logit_scale.data.fill_(0)
    torch.testing.assert_close(coop(image_embeds=IMAGES).logits, before / 100, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_another_attention_is_encoded_again(coop: CoOpForImageClassification) -> None:
    with counting(coop) as calls:
        for implementation in ("sdpa", "eager", "eager"):
            coop.set_attn_implementation(implementation)
            coop(image_embeds=IMAGES)
    assert len(calls) == 2


def test_an_unfrozen_text_tower_has_gradients(zero_shot: ClipZeroShotForImageClassification) -> None:
    with torch.no_grad():
        zero_shot(image_embeds=IMAGES)
    weight = zero_shot.clip.text_model.final_layer_norm.weight.requires_grad_(True)
    zero_shot(image_embeds=IMAGES, labels=torch.arange(24) % 3).loss.backward()
    assert weight.grad.abs().max() > 0


def test_a_model_that_has_answered_can_be_exported(coop: CoOpForImageClassification) -> None:
    coop.requires_grad_(False).eval()
    expected = coop(image_embeds=IMAGES).logits
    program = torch.export.export(coop, (), {"image_embeds": IMAGES}, strict=False)
    torch.testing.assert_close(program.module()(image_embeds=IMAGES).logits, expected)
    assert torch.equal(coop(image_embeds=IMAGES).logits, expected)
