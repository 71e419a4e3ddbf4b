"""Backbones whose text tower is a BERT (Chinese-CLIP, AltCLIP, ALIGN), against their own forward pass."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor

from hf_prompt_cli.commands.interpret import interpret
from hf_prompt_models import (
    ActionClipForVideoClassification,
    ClipLoraForImageClassification,
    ClipZeroShotForImageClassification,
    CoCoOpForImageClassification,
    CoOpForImageClassification,
    FeatureAdapterForImageClassification,
    IVLPForImageClassification,
    KgCoOpForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
    ProGradForImageClassification,
    PromptSRCForImageClassification,
    TCPForImageClassification,
)
from hf_prompt_models.models.coop.convert_coop import convert_to_original
from hf_prompt_models.tasks.image_classification.onnx_export import export_onnx
from hf_prompt_models.training.feature_cache import open_feature_cache
from tests.stand_ins import clip_tokenizer
from tests.tested_method import random_image


TOWERS = ("chinese_clip", "altclip", "align")
NAMES = ["cat", "sea_or_lake", "the dog", "a b c d e f g h i j k l"]  # of different lengths, so that there is padding
LABELS = torch.tensor([0, 2])
DEEP = (
    IVLPForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
    PromptSRCForImageClassification,
    TCPForImageClassification,
)


@pytest.fixture(params=TOWERS)
def tower(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def images(model: Any) -> dict[str, torch.Tensor]:
    return dict(model.processor(images=[random_image(0), random_image(1, (30, 70))], return_tensors="pt"))


def with_context(model: Any) -> Any:
    """With learned tensors as large as words, so that they matter."""
    with torch.no_grad():
        for parameter in model.prompt_learner.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 2)
    return model


def relative_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


# -- against the models themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["longest", "max_length"])
def test_zero_shot_equals_the_models_own_forward(padding: str, tower: Path) -> None:
    template = "一张{}的照片。" if tower.name.startswith("chinese") else "the photo of a {}."
    model = ClipZeroShotForImageClassification.from_backbone(tower, NAMES, [template])
    pixels = images(model)
    theirs, processor = AutoModel.from_pretrained(tower).eval(), AutoProcessor.from_pretrained(tower)
    texts = [template.format(name.replace("_", " ")) for name in NAMES]
    inputs = processor.tokenizer(texts, padding=padding, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**inputs, **pixels)
        logits = model(**pixels).logits
        features = model.get_text_features().pooler_output
    assert relative_difference(logits, expected.logits_per_image) < 1e-5
    assert relative_difference(features, F.normalize(expected.text_embeds, dim=-1)) < 1e-5
    assert expected.logits_per_image.std() > 1  # these logits have something to get wrong


def test_an_ensemble_is_the_mean_over_templates_of_different_lengths(tower: Path) -> None:
    templates = ["{}.", "the photo of a {}, in the photo."]
    model = ClipZeroShotForImageClassification.from_backbone(tower, NAMES, templates)
    mean = torch.zeros(len(NAMES), 24)
    for template in templates:
        texts = [template.format(name.replace("_", " ")) for name in NAMES]
        inputs = model.processor.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            mean += F.normalize(model.clip.get_text_features(**inputs).pooler_output, dim=-1)
    expected = F.normalize(mean, dim=-1)
    torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-5)


def test_hidden_states_are_those_of_the_towers(tower: Path) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(tower, NAMES, ["a {}."], attn_implementation="eager")
    pixels = images(model)
    inputs = model.processor.tokenizer([f"a {name.replace('_', ' ')}." for name in NAMES], padding=True)
    inputs = inputs.convert_to_tensors("pt")
    states = {"output_hidden_states": True, "output_attentions": True}
    image_states = {"output_hidden_states": True, "output_attentions": tower.name != "align-base"}
    with torch.no_grad():
        text, expected_text = model.get_text_features(**states), model.clip.text_model(**inputs, **states)
        output, expected = model(**pixels, **image_states), model.clip.vision_model(**pixels, **image_states)
    assert len(text.hidden_states) == len(expected_text.hidden_states) == 3
    real = inputs["attention_mask"].bool()
    for ours, theirs in zip(text.hidden_states, expected_text.hidden_states, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], rtol=0, atol=1e-5)
    assert len(text.attentions) == 2
    for ours, theirs in zip(output.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(ours, theirs)
    if tower.name == "align-base":
        with pytest.raises(ValueError, match="image encoder of AlignModel returned no attentions"):
            model(**pixels, output_attentions=True)
    else:
        assert len(output.attentions) == 2


def test_the_loss_of_kgcoop_is_that_of_its_definition(tower: Path) -> None:
    model = with_context(KgCoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=3, context_init=None)).train()
    pixels = images(model)
    loss = model(**pixels, labels=LABELS).loss
    texts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    inputs = model.processor.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        teacher = F.normalize(model.clip.get_text_features(**inputs).pooler_output, dim=-1)
    features = model.get_text_features().pooler_output
    distance = 1 - (features * teacher).sum(-1).mean()
    expected = F.cross_entropy(model(**pixels).logits, LABELS) + 8 * distance
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    assert distance > 0.01


def test_cocoop_is_coop_with_the_context_of_each_image(tower: Path) -> None:
    model = with_context(CoCoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=3, context_init=None)).eval()
    coop = CoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=3)
    with torch.no_grad():
        embeds = F.normalize(torch.randn(2, 24), dim=-1)
        features = model.get_text_features(embeds).pooler_output
        for index, shift in enumerate(model.prompt_learner.meta_net(embeds)):
            coop.context.copy_(model.prompt_learner.context + shift)
            torch.testing.assert_close(features[index], coop.get_text_features().pooler_output, rtol=0, atol=1e-5)
    assert (features[0] - features[1]).abs().max() > 0.01


def test_lora_of_the_image_tower_starts_as_zero_shot(chinese_clip: Path) -> None:
    model = ClipLoraForImageClassification.from_backbone(chinese_clip, NAMES, encoder="vision").eval()
    zero_shot = ClipZeroShotForImageClassification.from_backbone(chinese_clip, NAMES)
    with torch.no_grad():
        pixels = images(model)
        torch.testing.assert_close(model(**pixels).logits, zero_shot(**pixels).logits, rtol=1e-5, atol=0)


@pytest.mark.parametrize("adapter_type", ["lp++", "taskres"])
def test_feature_adapters_start_as_zero_shot(adapter_type: str, tower: Path) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(tower, NAMES, adapter_type=adapter_type).eval()
    zero_shot = ClipZeroShotForImageClassification.from_backbone(tower, NAMES)
    with torch.no_grad():
        pixels = images(model)
        torch.testing.assert_close(model(**pixels).logits, zero_shot(**pixels).logits, rtol=1e-5, atol=0)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "choices"),
    [
        (CoOpForImageClassification, {"n_ctx": 3}),
        (CoOpForImageClassification, {"n_ctx": 3, "class_token_position": "middle"}),
        (CoOpForImageClassification, {"n_ctx": 3, "class_token_position": "front", "class_specific_context": True}),
        (KgCoOpForImageClassification, {}),
        (ProGradForImageClassification, {}),
        (CoCoOpForImageClassification, {}),
    ],
)
def test_training_reaches_the_prompt_alone_and_has_no_dropout(method: Any, choices: dict, tower: Path) -> None:
    model = method.from_backbone(tower, NAMES, **choices).train()
    assert model.clip.config.text_config.hidden_dropout_prob == 0.1
    pixels = images(model)
    statistics = {name: buffer.clone() for name, buffer in model.clip.named_buffers()}
    losses = [model(**pixels, labels=LABELS).loss for _ in range(2)]
    assert torch.equal(*losses)
    losses[0].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("prompt_learner."), name
    assert model.prompt_learner.context.grad.abs().max() > 0
    for name, buffer in model.clip.named_buffers():  # the batch norms of ALIGN
        assert torch.equal(buffer, statistics[name]), name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_chunks_of_prompts_change_no_gradient(
    checkpointing: bool, tower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_context(CoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=3))
    features = model.get_text_features().pooler_output
    features.square().mul(torch.arange(24)).sum().backward()
    expected, model.prompt_learner.context.grad = model.prompt_learner.context.grad, None
    calls: list[int] = []
    model.clip.text_model.base_model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    if checkpointing:
        monkeypatch.setattr("hf_prompt_models.modeling_text_prompt_utils.CHECKPOINTED_CHUNK_SIZE", 3)
        model.activation_checkpointing_enable()
    else:
        model.config.text_chunk_size = 3
    in_parts = model.train().get_text_features().pooler_output
    in_parts.square().mul(torch.arange(24)).sum().backward()
    assert len(calls) == 4  # two chunks, computed again in the backward pass
    torch.testing.assert_close(in_parts, features, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.prompt_learner.context.grad, expected, rtol=1e-4, atol=1e-5)


def test_the_prompt_stays_in_full_precision_over_a_tower_in_half_precision(tower: Path) -> None:
    model = CoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=3, dtype=torch.bfloat16)
    output = model(images(model)["pixel_values"].to(torch.bfloat16), labels=LABELS)
    output.loss.backward()
    assert model.clip.dtype == torch.bfloat16
    assert output.logits.dtype == model.context.grad.dtype == torch.float32


def test_features_of_images_are_cached_by_all_that_the_image_tower_has(align: Path, tmp_path: Path) -> None:
    model, other = (CoOpForImageClassification.from_backbone(align, NAMES, n_ctx=n_ctx) for n_ctx in (2, 3))
    first = open_feature_cache(tmp_path, model, model.processor.image_processor).setting
    assert open_feature_cache(tmp_path, other, other.processor.image_processor).setting == first
    other.clip.vision_model.embeddings.batchnorm.running_mean[0] += 1
    assert open_feature_cache(tmp_path, other, other.processor.image_processor).setting != first


# -- class names -----------------------------------------------------------------------------------------------------


def test_the_longest_name_that_fits_is_taken_and_a_longer_one_named(tower: Path) -> None:
    """Of 64 positions, 3 are those of the context, 3 of the start, the full stop and the end; AltCLIP has 2 more."""
    tokens_of_letter = 2 if tower.name == "AltCLIP" else 1  # "▁" and "x"
    fits = " ".join("x" * (58 // tokens_of_letter))
    model = CoOpForImageClassification.from_backbone(tower, ["cat", fits], n_ctx=3)
    assert max(map(len, model.prompt_token_ids())) == 64
    model.get_text_features()
    with pytest.raises(ValueError, match=rf"'{fits} x' has {58 + tokens_of_letter} tokens, but only 58 fit"):
        CoOpForImageClassification.from_backbone(tower, ["cat", f"{fits} x"], n_ctx=3)


def test_a_sentence_is_cut_at_the_last_position(tower: Path, caplog: pytest.LogCaptureFixture) -> None:
    sentences = {"cat": ["the photo of a cat.", " ".join("x" * 70)], "dog": ["the dog."]}
    model = ClipZeroShotForImageClassification.from_backbone(tower, ["cat", "dog"], [], class_prompts=sentences)
    lengths = [len(ids) for ids in model.prompt_token_ids()]
    assert max(lengths) == 64
    model.get_text_features()
    assert "Truncated 1 of the 3 texts of class_prompts to the 64 tokens of the model" in caplog.text


def test_special_tokens_in_a_name_are_refused(tower: Path) -> None:
    tokens = ("<s>", "</s>", "<pad>") if tower.name == "AltCLIP" else ("[CLS]", "[SEP]", "[PAD]")
    for token in tokens:
        with pytest.raises(ValueError, match="contains the special token"):
            CoOpForImageClassification.from_backbone(tower, ["cat", f"a {token} dog"])


def test_another_towers_tokenizer_is_refused(tower: Path) -> None:
    with pytest.raises(ValueError, match="Pass the tokenizer of this backbone"):
        CoOpForImageClassification.from_backbone(tower, NAMES, tokenizer=clip_tokenizer())


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", ["chinese_clip", "align"])  # AltCLIP's image tower is Chinese-CLIP's
def test_the_exported_file_gives_the_models_logits(
    backbone: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tower = request.getfixturevalue(backbone)
    model = with_context(CoOpForImageClassification.from_backbone(tower, NAMES, n_ctx=2))
    report = export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor, [random_image(1)])
    assert report.relative_difference < 1e-5


@pytest.mark.parametrize("backbone", ["chinese_clip", "altclip"])  # ALIGN's tokenizer is Chinese-CLIP's
def test_a_prompt_that_started_from_words_finds_them(
    backbone: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tower = request.getfixturevalue(backbone)
    CoOpForImageClassification.from_backbone(tower, NAMES, context_init="the photo of").save_pretrained(tmp_path)
    arguments = argparse.Namespace(model=tmp_path, backbone=None, class_name=None, top_k=1, metric="euclidean")
    (context,) = interpret(arguments)["contexts"]
    assert [tokens[0]["text"] for tokens in context["vectors"]] == ["the", "photo", "of"]


def test_the_original_code_of_coop_has_no_such_prompts(tower: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(tower, NAMES)
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(ValueError, match=f"Prompts for {type(model.clip).__name__} cannot be converted"):
        convert_to_original(tmp_path / "saved", tmp_path / "original")


# -- what they cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", DEEP)
def test_prompts_inside_the_layers_of_the_text_tower_are_refused(method: Any, tower: Path) -> None:
    with pytest.raises(TypeError, match=rf"^{method.__name__} needs a causal text encoder, .*Model is bidirectional"):
        method.from_backbone(tower, NAMES)


@pytest.mark.parametrize("encoder", ["text", "both"])
def test_lora_of_the_text_tower_is_refused(encoder: str, tower: Path) -> None:
    with pytest.raises(TypeError, match=r"text encoder of a .*Model does not have"):
        ClipLoraForImageClassification.from_backbone(tower, NAMES, encoder=encoder)


def test_a_convolutional_image_tower_has_no_projection_and_no_attention_to_train(align: Path) -> None:
    with pytest.raises(TypeError, match="projection of the image encoder, but a AlignModel has none"):
        FeatureAdapterForImageClassification.from_backbone(align, NAMES, adapter_type="prolip")
    with pytest.raises(TypeError, match="image encoder of a AlignModel does not have"):
        ClipLoraForImageClassification.from_backbone(align, NAMES, encoder="vision")


def test_videos_are_refused(tower: Path) -> None:
    with pytest.raises(TypeError, match="which ActionClipForVideoClassification does not support"):
        ActionClipForVideoClassification.from_backbone(tower, NAMES)


def test_an_attention_that_align_lacks_is_refused(align: Path) -> None:
    with pytest.raises(ValueError, match="AlignModel does not support"):
        CoOpForImageClassification.from_backbone(align, NAMES, attn_implementation="sdpa")
