"""CoOp over backbones other than CLIP: logits and gradients against the models themselves on padded prompts."""

import itertools
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models import CoOpForImageClassification
from tests.full_length_reference import coop_text_features_by_offsets


NAMES = [
    "cat",
    "catfish",
    "cat",  # repeated
    "sea_or_lake",
    "the dog",
    "ox",  # with its full stop it is "o" and "x." to Gemma's tokenizer here
    "kite (x)",  # so is ")."
    "a b c d e f g h i j k l m n o p q r s t",
]
POSITIONS = ("end", "middle", "front")
SDPA = ("siglip", "siglip2", "naflex", "metaclip2", "chinese_clip", "altclip")
BACKBONES = (*SDPA, "align")


def new_coop(folder: Path, **kwargs: object) -> CoOpForImageClassification:
    """With context as large as words, so that it matters."""
    model = CoOpForImageClassification.from_backbone(folder, class_names=NAMES, **kwargs)
    with torch.no_grad():
        model.prompt_learner.context.normal_(std=0.5)
    return model


@pytest.mark.parametrize(
    ("backbone", "attention", "position", "class_specific", "n_ctx"),
    [
        *itertools.product(SDPA, ["sdpa"], POSITIONS, [False, True], [3, 16]),
        *itertools.product(["align"], ["eager"], POSITIONS, [False, True], [3, 16]),
        *itertools.product(SDPA, ["eager"], ["middle"], [False], [4]),
    ],
)
def test_logits_and_gradients_equal_the_models_on_padded_prompts(
    backbone: str, attention: str, position: str, class_specific: bool, n_ctx: int, request: pytest.FixtureRequest
) -> None:
    model = new_coop(
        request.getfixturevalue(backbone),
        n_ctx=n_ctx,
        class_token_position=position,
        class_specific_context=class_specific,
        attn_implementation=attention,
    )
    context = model.prompt_learner.context
    image_features = F.normalize(torch.randn(8, model.get_text_features().pooler_output.shape[1]), dim=-1)
    labels = torch.arange(8) % len(NAMES)
    output = model(image_embeds=image_features, labels=labels)
    output.loss.backward()

    reference = context.detach().clone().requires_grad_()
    text_features = coop_text_features_by_offsets(model.clip, model.processor.tokenizer, NAMES, reference, position)
    scale = 1 / model.clip.temperature if backbone == "align" else model.clip.logit_scale.exp()
    expected = scale * image_features @ text_features.T
    if backbone in ("siglip", "siglip2", "naflex"):
        expected = expected + model.clip.logit_bias
    F.cross_entropy(expected, labels).backward()

    torch.testing.assert_close(output.logits, expected, rtol=0, atol=1e-4)
    difference = (context.grad - reference.grad).abs().flatten(-2).amax(-1)
    assert (difference / reference.grad.abs().flatten(-2).amax(-1)).max() < 1e-4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_words_before_the_name_are_the_zero_shot_prompt(backbone: str, request: pytest.FixtureRequest) -> None:
    model = CoOpForImageClassification.from_backbone(
        request.getfixturevalue(backbone), class_names=NAMES, context_init="a photo of a"
    )
    prompts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    inputs = model.processor.tokenizer(prompts, padding="max_length", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    expected = F.normalize(model.clip.get_text_features(**inputs).pooler_output, dim=-1)
    torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_more_prompts_than_are_encoded_at_a_time(
    checkpointing: bool, siglip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_coop(siglip, n_ctx=3)
    features = model.get_text_features().pooler_output
    features.square().mul(torch.arange(32)).sum().backward()
    expected, model.prompt_learner.context.grad = model.prompt_learner.context.grad, None
    calls: list[int] = []
    model.clip.text_model.encoder.register_forward_hook(lambda *_: calls.append(1))
    if checkpointing:
        monkeypatch.setattr("hf_prompt_models.modeling_text_prompt_utils.CHECKPOINTED_CHUNK_SIZE", 3)
        model.activation_checkpointing_enable()
    else:
        model.config.text_chunk_size = 3
    in_parts = model.train().get_text_features().pooler_output
    in_parts.square().mul(torch.arange(32)).sum().backward()
    assert len(calls) == 6  # computed again on the way back
    torch.testing.assert_close(in_parts, features, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.prompt_learner.context.grad, expected, rtol=1e-4, atol=1e-5)


def test_the_longest_name_that_fits_is_taken_and_a_longer_one_named(siglip: Path) -> None:
    """64 positions less 16 of context and the end are 47; each " x" is two tokens here, "▁" and "x"."""
    CoOpForImageClassification.from_backbone(siglip, ["cat", " ".join("x" * 23)]).get_text_features()
    long = " ".join("x" * 24)
    with pytest.raises(ValueError, match=f"'{long}' has 48 tokens, but only 47 fit"):
        CoOpForImageClassification.from_backbone(siglip, ["cat", long])


def test_a_name_of_which_the_tokenizer_leaves_nothing_is_refused(siglip: Path) -> None:
    with pytest.raises(ValueError, match=r"turns the class name '!\?' into no tokens"):
        CoOpForImageClassification.from_backbone(siglip, ["cat", "!?"])
