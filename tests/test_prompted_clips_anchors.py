"""The methods after CoOp: sizes, limit cases, and supported class names and backbones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, CLIPConfig, CLIPTextConfig, CLIPVisionConfig

from hf_prompt_models import (
    ClipZeroShotForImageClassification,
    CoCoOpForImageClassification,
    CoOpForImageClassification,
    IVLPConfig,
    IVLPForImageClassification,
    KgCoOpForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
    ProGradForImageClassification,
    PromptSRCForImageClassification,
    TCPForImageClassification,
)
from hf_prompt_models.prompts.templates import IMAGENET_TEMPLATES, PROMPTSRC_TEMPLATES
from tests.test_prompted_clips import CASES, LABELS, NAMES, build, folder, pixels


assert folder  # fixtures
assert pixels

# -- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_class", "fields", "count"),
    [
        (CoCoOpForImageClassification, {}, 35_360),
        (KgCoOpForImageClassification, {}, 2_048),
        (ProGradForImageClassification, {}, 8_192),
        (IVLPForImageClassification, {"text_depth": 0, "n_vision_ctx": 8}, 73_728),
        (IVLPForImageClassification, {"n_ctx": 4, "vision_depth": 0}, 24_576),
        (IVLPForImageClassification, {}, 30_720),
        (MaPLeForImageClassification, {}, 3_555_072),
        (PromptSRCForImageClassification, {"n_ctx": 4}, 46_080),
        (TCPForImageClassification, {}, 331_904),
        (MMRLForImageClassification, {}, 4_992_256),
    ],
)
def test_a_vit_b_16_has_the_papers_number_of_trained_numbers(model_class: Any, fields: dict, count: int) -> None:
    text = CLIPTextConfig(hidden_size=512, num_hidden_layers=12, num_attention_heads=8, projection_dim=512)
    vision = CLIPVisionConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, patch_size=16)
    clip = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=512)
    with torch.device("meta"):
        model = model_class(model_class.config_class(clip_config=clip.to_dict(), **fields))
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == count
    assert all(parameter.dtype == torch.float32 for parameter in model.prompt_learner.parameters())


def test_promptsrc_has_the_released_templates() -> None:
    assert len(PROMPTSRC_TEMPLATES) == 60
    assert PROMPTSRC_TEMPLATES[0] == "a photo of a {}."
    assert sorted(PROMPTSRC_TEMPLATES) == sorted(IMAGENET_TEMPLATES[:60])


# -- starts ----------------------------------------------------------------------------------------------------------


def test_maple_projections_start_equal_from_the_second_on(folder: Path) -> None:
    first, *others = MaPLeForImageClassification.from_backbone(
        folder, NAMES, prompt_depth=4
    ).prompt_learner.projections
    assert len(others) == 3
    for projection in others[1:]:
        assert torch.equal(projection.weight, others[0].weight)
        assert torch.equal(projection.bias, others[0].bias)
    assert not torch.equal(first.weight, others[0].weight)
    assert first.weight.abs().max() <= 32**-0.5


def test_mmrl_projections_into_one_tower_start_equal(folder: Path) -> None:
    learner = MMRLForImageClassification.from_backbone(folder, NAMES, first_layer=1).prompt_learner
    for projections, count in ((learner.text_projections, 3), (learner.vision_projections, 4)):
        assert len(projections) == count
        assert all(torch.equal(each.weight, projections[0].weight) for each in projections)
    assert learner.representation.std().item() == pytest.approx(0.02, rel=0.1)
    assert learner.representation_projection.weight.std().item() == pytest.approx(48**-0.5, rel=0.1)


@pytest.mark.parametrize("n_ctx", [1, 2, 4])
def test_a_short_deep_prompt_starts_as_the_words_and_keeps_the_others(n_ctx: int, folder: Path) -> None:
    arguments = {"text_depth": 1, "vision_depth": 0}
    model = IVLPForImageClassification.from_backbone(folder, NAMES, n_ctx=n_ctx, **arguments).eval()
    zero_shot = ClipZeroShotForImageClassification.from_backbone(folder, NAMES)
    with torch.no_grad():
        ours, theirs = (each.get_text_features().pooler_output for each in (model, zero_shot))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_a_long_deep_prompt_starts_at_random_without_frozen_words(folder: Path) -> None:
    model = IVLPForImageClassification.from_backbone(folder, NAMES, n_ctx=8, text_depth=2, vision_depth=1)
    assert model.config.frozen_context_ids == []
    for name in ("context", "deep_context", "vision_context"):
        assert getattr(model.prompt_learner, name).std().item() == pytest.approx(0.02, rel=0.2)


def test_prograd_starts_from_zeros_and_the_words_of_the_template(folder: Path) -> None:
    model = ProGradForImageClassification.from_backbone(folder, NAMES, n_ctx=6, templates=["the photo of a {}, big."])
    ids = model.processor.tokenizer("the photo of a", add_special_tokens=False)["input_ids"]
    embeddings = model.clip.text_model.embeddings.token_embedding.weight
    assert not model.context[:2].any()
    assert torch.equal(model.context[2:], embeddings[ids])
    with pytest.raises(ValueError, match=r"4 tokens before the class name.*n_ctx=3"):
        ProGradForImageClassification.from_backbone(folder, NAMES, n_ctx=3, templates=["the photo of a {}."])


@pytest.mark.parametrize("model_class", [KgCoOpForImageClassification, CoCoOpForImageClassification])
def test_words_replace_the_number_of_context_vectors(model_class: Any, folder: Path) -> None:
    model = model_class.from_backbone(folder, NAMES, n_ctx=9, context_init="the photo")
    ids = model.processor.tokenizer("the photo", add_special_tokens=False)["input_ids"]
    assert torch.equal(model.prompt_learner.context, model.clip.text_model.embeddings.token_embedding.weight[ids])
    random = model_class.from_backbone(folder, NAMES, n_ctx=9, context_init=None).prompt_learner.context
    assert random.shape == (9, 32)
    assert random.std().item() == pytest.approx(0.02, rel=0.2)
    with pytest.raises(ValueError, match="Pass only the words before the class name"):
        model_class.from_backbone(folder, NAMES, context_init="a photo of {}")


# -- limits ----------------------------------------------------------------------------------------------------------


def test_a_meta_net_of_zeros_is_coop(folder: Path, pixels: torch.Tensor) -> None:
    model = build(folder, "cocoop")
    coop = CoOpForImageClassification.from_backbone(folder, NAMES, n_ctx=4).eval()
    with torch.no_grad():
        coop.prompt_learner.context.copy_(model.prompt_learner.context)
        for parameter in model.prompt_learner.meta_net.linear2.parameters():
            parameter.zero_()
        torch.testing.assert_close(
            model(pixel_values=pixels).logits, coop(pixel_values=pixels).logits, atol=1e-4, rtol=0
        )


@pytest.mark.parametrize(
    ("case", "weights"),
    [
        ("kgcoop", {"knowledge_weight": 0.0}),
        ("tcp", {"knowledge_weight": 0.0}),
        ("promptsrc", {"text_weight": 0.0, "image_weight": 0.0, "logits_weight": 0.0}),
    ],
)
def test_without_weights_the_loss_is_the_cross_entropy(
    case: str, weights: dict[str, float], folder: Path, pixels: torch.Tensor
) -> None:
    model = build(folder, case)
    model.config.update(weights)
    output = model(pixel_values=pixels, labels=LABELS)
    assert output.loss.item() == pytest.approx(F.cross_entropy(output.logits, LABELS).item(), rel=1e-6)


def test_prograd_without_weight_has_the_gradient_of_coop(folder: Path, pixels: torch.Tensor) -> None:
    gradients = []
    for weight in (0.0, 0.8):
        model = build(folder, "prograd")
        model.config.gradient_weight = weight
        output = model(pixel_values=pixels, labels=LABELS)
        output.loss.backward()
        gradients.append(model.prompt_learner.context.grad)
    (expected,) = torch.autograd.grad(
        F.cross_entropy(model(pixel_values=pixels).logits, LABELS), model.prompt_learner.context
    )
    torch.testing.assert_close(gradients[0], expected, rtol=1e-5, atol=1e-7)


def test_prograd_changes_the_gradient_only_where_it_goes_against_the_teacher(
    folder: Path, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of teachers at random some agree with the cross-entropy and some do not."""
    model = build(folder, "prograd")
    context, against = model.prompt_learner.context, 0
    with torch.no_grad():
        images = model.get_image_features(pixels).pooler_output
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        teacher = F.normalize(torch.randn(len(NAMES), 24, generator=generator), dim=-1)
        monkeypatch.setattr(model, "get_teacher_features", lambda teacher=teacher: teacher)
        context.grad = None
        model(image_embeds=images, labels=LABELS).loss.backward()
        logits = model(image_embeds=images).logits
        targets = (model.clip.logit_scale.exp() * images @ teacher.T / 2).softmax(dim=1)
        divergence = -4 * (targets * (logits / 2).log_softmax(dim=1)).sum(dim=1).mean()
        (a,) = torch.autograd.grad(F.cross_entropy(logits, LABELS), context, retain_graph=True)
        (b,) = torch.autograd.grad(divergence, context)
        product = (a * b).sum()
        against += int(product < 0)
        expected = a if product >= 0 else a - 0.8 * product / b.norm() ** 2 * b
        torch.testing.assert_close(context.grad, expected, rtol=1e-4, atol=1e-6)
    assert 0 < against < 6


# -- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["kgcoop", "prograd", "promptsrc", "tcp", "mmrl", "maple", "ivlp", "cocoop"])
def test_new_classes_bring_their_own_teacher_and_tokens(case: str, folder: Path, pixels: torch.Tensor) -> None:
    """As in a model that was made for them, with the same trained tensors."""
    model_class, arguments, _ = CASES[case]
    names = ["the ox", "a photo"]
    model, fresh = build(folder, case), model_class.from_backbone(folder, names, **arguments)
    model(pixel_values=pixels, labels=LABELS)  # so that everything that is kept is there
    fresh.prompt_learner.load_state_dict(model.prompt_learner.state_dict())
    kept = {"role": "base"} if case == "mmrl" else {}
    model.set_classes(names, **kept)
    labels = torch.tensor([0, 1, 1])
    ours, theirs = (each(pixel_values=pixels, labels=labels) for each in (model, fresh))
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-5, atol=1e-6)
    assert model.config.class_names == names


def test_of_new_classes_the_class_token_alone_decides(folder: Path, pixels: torch.Tensor) -> None:
    model = build(folder, "mmrl").eval()
    with torch.no_grad():
        images = model.get_image_features(pixels)
        text = model.get_text_features().pooler_output
        scale = model.clip.logit_scale.exp()
        both = scale * (0.6 * images.pooler_output + 0.4 * images.representation_embeds) @ text.T
        torch.testing.assert_close(model(pixel_values=pixels).logits, both, rtol=0, atol=1e-4)
        model.set_classes(NAMES)
        alone = scale * images.pooler_output @ text.T
        torch.testing.assert_close(model(pixel_values=pixels).logits, alone, rtol=0, atol=1e-4)
        model.set_classes(NAMES, role="base")
        torch.testing.assert_close(model(pixel_values=pixels).logits, both, rtol=0, atol=1e-4)


def test_the_class_features_of_cocoop_are_of_each_image(folder: Path, pixels: torch.Tensor) -> None:
    model = build(folder, "cocoop").eval()
    with torch.no_grad():
        output = model(pixel_values=pixels)
        embeds = output.image_embeds
        features = model.get_text_features(7 * embeds).pooler_output
        alone = model.get_text_features(embeds[1:2]).pooler_output
    assert features.shape == output.text_embeds.shape == (3, len(NAMES), 24)
    torch.testing.assert_close(features, output.text_embeds, rtol=0, atol=1e-6)
    torch.testing.assert_close(features[1:2], alone, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"depend on the image\. Pass image_embeds"):
        model.get_text_features()


@pytest.mark.parametrize("case", ["kgcoop", "prograd", "promptsrc", "tcp", "mmrl"])
@pytest.mark.parametrize("save_backbone", [False, True])
def test_a_reloaded_model_has_the_same_training_loss(
    save_backbone: bool, case: str, folder: Path, pixels: torch.Tensor, tmp_path: Path
) -> None:
    model = build(folder, case)
    model.save_pretrained(tmp_path, save_backbone=save_backbone)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    ours, theirs = (each.train()(pixel_values=pixels, labels=LABELS) for each in (model, again))
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=1e-6, atol=0)
    for name, term in ours.loss_terms.items():
        torch.testing.assert_close(term, theirs.loss_terms[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", ["ivlp", "maple", "promptsrc", "cocoop", "tcp", "mmrl"])
def test_chunks_and_checkpointing_change_no_gradient(case: str, folder: Path, pixels: torch.Tensor) -> None:
    gradients = []
    for chunk_size, checkpointing in ((None, False), (2, False), (None, True)):
        model = build(folder, case)
        model.config.text_chunk_size = chunk_size
        if checkpointing:
            model.activation_checkpointing_enable()
        model.train()(pixel_values=pixels, labels=LABELS).loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.prompt_learner.parameters()]))
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_prompts_stay_in_full_precision_over_a_backbone_of_half(case: str, folder: Path, pixels: torch.Tensor) -> None:
    model_class, arguments, _ = CASES[case]
    model = model_class.from_backbone(folder, NAMES, dtype=torch.bfloat16, **arguments)
    output = model(pixel_values=pixels, labels=LABELS)
    output.loss.backward()
    assert output.logits.dtype == output.loss.dtype == torch.float32
    for name, parameter in model.prompt_learner.named_parameters():
        assert parameter.dtype == torch.float32, name
        assert parameter.grad.isfinite().all(), name
    assert model.clip.dtype == torch.bfloat16


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_class", "arguments", "message"),
    [
        (
            IVLPForImageClassification,
            {"text_depth": 5, "vision_depth": 1},
            "text_depth=5 .* text encoder has 4 layers",
        ),
        (IVLPForImageClassification, {"text_depth": 1, "vision_depth": 6}, "vision_depth=6 .* image encoder has 5"),
        (MaPLeForImageClassification, {"prompt_depth": 5}, "prompt_depth=5 .* text encoder has 4 layers"),
        (MaPLeForImageClassification, {"prompt_depth": 0}, "prompt_depth=0 .* from 1 to 4"),
        (PromptSRCForImageClassification, {"prompt_depth": 9}, "prompt_depth=9 .* text encoder has 4 layers"),
        (TCPForImageClassification, {"class_token_layer": 4}, "class_token_layer=4 .* 4 layers, counted from 0"),
        (MMRLForImageClassification, {"first_layer": 4}, "first_layer=4 .* text encoder has 4 layers, counted from 0"),
        (KgCoOpForImageClassification, {"templates": ["a photo"]}, "must contain '{}' exactly once"),
        (PromptSRCForImageClassification, {"prompt_depth": 2, "templates": []}, "at least one template"),
        (TCPForImageClassification, {"class_token_layer": 1, "prompt_template": "big"}, "must contain '{}'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(model_class: Any, arguments: dict, message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        model_class.from_backbone(folder, NAMES, **arguments)


@pytest.mark.parametrize("case", CASES)
def test_a_name_that_is_too_long_is_named(case: str, folder: Path) -> None:
    model_class, arguments, _ = CASES[case]
    with pytest.raises(ValueError, match=r"'x x x.*has 90 tokens"):
        model_class.from_backbone(folder, ["cat", " ".join("x" * 90)], **arguments)


@pytest.mark.parametrize("case", ["ivlp", "vpt", "maple, shallow", "promptsrc", "tcp", "mmrl"])
def test_a_backbone_without_what_the_method_needs_is_refused_by_type(case: str, siglip: Path) -> None:
    model_class, arguments, _ = CASES[case]
    with pytest.raises(TypeError, match=f"{model_class.__name__} needs .*SiglipModel"):
        model_class.from_backbone(siglip, NAMES, **arguments)


@pytest.mark.parametrize("case", ["kgcoop", "prograd", "cocoop"])
def test_methods_with_a_plain_context_take_siglip_too(case: str, siglip: Path) -> None:
    model_class, arguments, _ = CASES[case]
    model = model_class.from_backbone(siglip, ["cat", "dog"], **arguments)
    side = model.config.clip_config.vision_config.image_size
    output = model(pixel_values=torch.randn(2, 3, side, side), labels=torch.tensor([0, 1]))
    output.loss.backward()
    assert output.logits.shape == (2, 2)
    assert model.prompt_learner.context.grad.abs().max() > 0


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(StrictDataclassError, match="there is nothing to train"):
        IVLPConfig(text_depth=0, vision_depth=0)


def test_the_loss_of_image_features_alone_is_refused_where_it_compares_images(folder: Path) -> None:
    model = build(folder, "promptsrc")
    with pytest.raises(ValueError, match="Pass pixel_values with labels"):
        model(image_embeds=torch.randn(3, 24), labels=LABELS)
    for given in ({}, {"image_embeds": torch.randn(3, 24)}):
        with pytest.raises(ValueError, match="Pass only pixel_values"):
            build(folder, "mmrl")(**given)
