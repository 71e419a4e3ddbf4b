"""Methods over a CLIP with a ResNet: what they compute and train, what is refused, caches, exports, conversions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, CLIPTokenizer, Trainer, TrainingArguments

from hf_prompt_models import (
    ActionClipForVideoClassification,
    ClipResNetModel,
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
from hf_prompt_models.lora import add_lora, save_with_lora
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.models.coop.convert_coop import convert_from_original
from hf_prompt_models.prefix_lm.vision import encode_feature_map, feature_width, load_vision_model
from hf_prompt_models.tasks.image_classification.onnx_export import export_onnx
from hf_prompt_models.training.feature_cache import open_feature_cache
from tests.backbones.clip_resnet.stand_in import openai_rn50
from tests.full_length_reference import coop_text_features
from tests.models.coop.original_coop import write_original
from tests.tested_method import random_image


NAMES = ["cat", "dog", "the photo"]
METHODS: dict[str, tuple[type[ClipPromptModel], dict[str, Any]]] = {
    "coop": (CoOpForImageClassification, {"n_ctx": 4}),
    "kgcoop": (KgCoOpForImageClassification, {}),
    "prograd": (ProGradForImageClassification, {}),
    "cocoop": (CoCoOpForImageClassification, {}),
    "tcp": (TCPForImageClassification, {"class_token_layer": 1}),
    "ivlp": (IVLPForImageClassification, {"text_depth": 2, "vision_depth": 0}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_rn50(tmp_path_factory.mktemp("hub") / "rn50")


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipResNetModel:
    return ClipResNetModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def image_embeds(clip: ClipResNetModel, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return F.normalize(clip.get_image_features(pixels).pooler_output, dim=-1)


def coop(folder: Path, **choices: Any) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(folder, NAMES, n_ctx=4, **choices)


# -- what methods compute and train ----------------------------------------------------------------------------------


def test_zero_shot_logits_are_those_of_the_model_itself(
    folder: Path, clip: ClipResNetModel, pixels: torch.Tensor
) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(folder, NAMES, templates=["a photo of a {}."])
    texts = [f"a photo of a {name}." for name in NAMES]
    tokens = CLIPTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(pixels).logits, clip(**tokens, pixel_values=pixels).logits_per_image)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_coop_logits_and_gradients_equal_a_prompt_in_77_tokens(
    attention: str, folder: Path, pixels: torch.Tensor
) -> None:
    clip = ClipResNetModel.from_pretrained(folder)
    model = coop(folder, attn_implementation=attention)
    labels = torch.tensor([0, 1, 2, 0])
    output = model.train()(pixels, labels=labels)
    output.loss.backward()
    context = model.context.detach().clone().requires_grad_()
    classes = coop_text_features(clip, CLIPTokenizer.from_pretrained(folder), NAMES, context, "end")
    images = F.normalize(clip.get_image_features(pixels).pooler_output, dim=-1).detach()
    expected = clip.logit_scale.exp() * images @ classes.T
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(output.logits, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.context.grad, context.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_leaves_every_byte_of_the_backbone(
    name: str, folder: Path, pixels: torch.Tensor, image_embeds: torch.Tensor
) -> None:
    method, choices = METHODS[name]
    model = method.from_backbone(folder, NAMES, **choices)
    before = {key: tensor.clone() for key, tensor in model.clip.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(model(image_embeds=image_embeds).logits, model(pixels).logits)
    labels = torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1e-3)
    losses = []
    for _ in range(4):
        output = model.train()(pixels, labels=labels)
        losses.append(F.cross_entropy(output.logits, labels).item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    after = model.clip.state_dict()
    assert any(key.endswith("running_mean") for key in before)
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


def test_the_trainer_trains_a_prompt_that_loads_again(folder: Path, pixels: torch.Tensor, tmp_path: Path) -> None:
    model = coop(folder)
    labels = torch.tensor([0, 1, 2, 0])
    dataset = [{"pixel_values": image, "labels": label} for image, label in zip(pixels, labels, strict=True)]
    arguments = TrainingArguments(
        str(tmp_path / "run"), max_steps=2, learning_rate=1e-2, report_to=[], save_strategy="no", use_cpu=True
    )
    Trainer(model, arguments, train_dataset=dataset).train()
    model.eval().save_pretrained(tmp_path / "prompt")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "prompt")
    with torch.no_grad():
        assert torch.equal(loaded(pixels).logits, model(pixels).logits)


def test_feature_adapters_fit_its_features(folder: Path, pixels: torch.Tensor, image_embeds: torch.Tensor) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(folder, NAMES, adapter_type="clap")
    labels = torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        features = model.get_image_features(pixels).pooler_output
        torch.testing.assert_close(F.normalize(features, dim=-1), image_embeds)
        before = F.cross_entropy(model(pixels).logits, labels)
    model.fit_features(features, labels)
    with torch.no_grad():
        assert F.cross_entropy(model(pixels).logits, labels) < before
    with pytest.raises(TypeError, match="projection of the image encoder, but a ClipResNetModel has none"):
        FeatureAdapterForImageClassification.from_backbone(folder, NAMES, adapter_type="prolip")


# -- what needs tokens of the image tower ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        IVLPForImageClassification,
        MaPLeForImageClassification,
        MMRLForImageClassification,
        PromptSRCForImageClassification,
    ],
)
def test_prompts_between_the_tokens_of_an_image_tower_are_refused(method: type[ClipPromptModel], folder: Path) -> None:
    with pytest.raises(
        TypeError, match=r"needs an image encoder with a class token.*ClipResNetModel is convolutional"
    ):
        method.from_backbone(folder, NAMES)


@pytest.mark.parametrize("choices", [{"pre_network": "joint", "post_network": "mean"}, {"in_network": "shift"}])
def test_visual_prompts_of_action_clip_are_refused(choices: dict[str, Any], folder: Path) -> None:
    with pytest.raises(TypeError, match="that of a ClipResNetModel has none"):
        ActionClipForVideoClassification.from_backbone(folder, NAMES, **choices)


@pytest.mark.parametrize("trainable", ["all", "image", "head"])
def test_action_clip_reads_each_frame(
    trainable: Any, folder: Path, image_embeds: torch.Tensor, tmp_path: Path
) -> None:
    model = ActionClipForVideoClassification.from_backbone(
        folder, NAMES, templates=["a photo of a {}."], post_network="mean", trainable=trainable
    )
    frames = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(3)).unflatten(0, (2, 2))
    with torch.no_grad():
        features = model.get_frame_features(frames).pooler_output
        torch.testing.assert_close(F.normalize(features, dim=-1).flatten(0, 1), image_embeds)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert ("clip.vision_model.embeddings.conv1.normalization.weight" in trained) == (trainable != "head")
    assert any(name.startswith("clip.text_") for name in trained) == (trainable == "all")
    model.train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.training for norm in norms} == {trainable != "head"}
    if trained:
        before = norms[0].running_mean.clone()
        model(frames, labels=torch.tensor([0, 1])).loss.backward()
        assert norms[0].weight.grad is not None
        assert not torch.equal(norms[0].running_mean, before)
        model.eval().save_pretrained(tmp_path)
        loaded = ActionClipForVideoClassification.from_pretrained(tmp_path)
        with torch.no_grad():
            assert torch.equal(loaded(frames).logits, model(frames).logits)


# -- caches and checkpoints ------------------------------------------------------------------------------------------


def _one_statistic(clip: ClipResNetModel) -> None:
    clip.vision_model.encoder.stages[1].layers[0].shortcut.normalization.running_var[3] += 0.5


def _the_last_layer(clip: ClipResNetModel) -> None:
    clip.vision_model.attention_pool.out_proj.bias[0] += 0.5


@pytest.mark.parametrize("change", [_one_statistic, _the_last_layer], ids=lambda function: function.__name__)
def test_cached_features_belong_to_every_tensor_of_the_image_tower(
    change: Callable[[ClipResNetModel], None], folder: Path, tmp_path: Path
) -> None:
    model = coop(folder)
    image_processor: Any = model.processor.image_processor
    before = open_feature_cache(tmp_path, model, image_processor)
    with torch.no_grad():
        model.clip.text_projection.weight.zero_()
    assert open_feature_cache(tmp_path, model, image_processor).directory == before.directory
    with torch.no_grad():
        change(model.clip)
    assert open_feature_cache(tmp_path, model, image_processor).directory != before.directory


def test_another_backbone_of_the_same_sizes_is_refused(folder: Path, tmp_path: Path) -> None:
    coop(folder).save_pretrained(tmp_path / "prompt")
    other = openai_rn50(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="another backbone"):
        AutoModelForImageClassification.from_pretrained(tmp_path / "prompt", base_model_name_or_path=str(other))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft calls it
def test_low_rank_updates_train_with_the_prompt(folder: Path, pixels: torch.Tensor, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    model = coop(folder)
    statistics = {name: tensor.clone() for name, tensor in model.clip.vision_model.named_buffers()}
    adapted = add_lora(model, rank=2, targets=r"vision_model\.attention_pool\.(q|v)_proj")
    optimizer = torch.optim.SGD([each for each in adapted.parameters() if each.requires_grad], lr=0.1)
    for _ in range(2):
        adapted.train()
        optimizer.zero_grad()
        adapted(pixel_values=pixels, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
    adapted.eval()
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in model.clip.vision_model.named_buffers())
    save_with_lora(adapted, tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        found, expected, plain = (
            loaded(pixels).logits,
            adapted(pixel_values=pixels).logits,
            coop(folder)(pixels).logits,
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert (found - plain).abs().max() > 0.1


# -- export and conversion -------------------------------------------------------------------------------------------


def test_an_exported_classifier_has_the_logits_of_the_model(folder: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = coop(folder)
    report = export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor, [random_image(1)])
    assert report.relative_difference < 1e-5
    images = model.processor(images=[random_image(seed) for seed in range(3)], return_tensors="pt").pixel_values
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"pixel_values": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), model(images).logits, rtol=1e-4, atol=1e-4)


def test_prompts_that_coop_released_for_rn50_convert(tmp_path: Path) -> None:
    """They are 16 vectors for a text tower of width 512 (`rn50_ep50_16shots`)."""
    folder = openai_rn50(tmp_path / "rn50", text_width=512)
    context = 0.1 * torch.randn(16, 512)
    file = write_original(tmp_path / "run", folder, NAMES, context)
    convert_from_original(file, folder, NAMES, "end", tmp_path / "converted")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "converted")
    assert type(model.clip) is ClipResNetModel
    assert torch.equal(model.context, context)
    clip = ClipResNetModel.from_pretrained(folder)
    with torch.no_grad():
        expected = coop_text_features(clip, CLIPTokenizer.from_pretrained(folder), NAMES, context, "end")
        torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-5)


# -- as the vision model of a language model -------------------------------------------------------------------------


def test_the_image_tower_gives_its_last_feature_map(folder: Path, clip: ClipResNetModel, pixels: torch.Tensor) -> None:
    model = load_vision_model(folder)
    with torch.no_grad():
        output = encode_feature_map(model, pixels)
        expected = clip.vision_model(pixels, output_hidden_states=True).hidden_states[-1]
    assert output.last_hidden_state.shape == (4, feature_width(model.config), 2, 2)
    assert torch.equal(output.last_hidden_state, expected)
