"""ResNet CLIPs against a reference, in every precision and size, and as models of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    CLIPProcessor,
    pipeline,
)

from hf_prompt_models import ClipResNetConfig, ClipResNetModel, ClipResNetVisionConfig, ClipResNetVisionModel
from tests.backbones.clip_resnet.reference import as_in_openai, encode_image, interpolate_positions
from tests.backbones.clip_resnet.stand_in import lively, openai_rn50, tiny_config
from tests.tested_method import random_image


TEXTS = ["a photo of a cat.", "the dog", "a photo."]
RELEASED: dict[str, tuple[dict[str, Any], tuple[int, int], tuple[float, float]]] = {
    "RN50": ({"layers": [3, 4, 6, 3], "width": 64, "image_size": 224, "output_dim": 1024}, (512, 8), (38.3, 102.0)),
    "RN101": ({"layers": [3, 4, 23, 3], "width": 64, "image_size": 224, "output_dim": 512}, (512, 8), (56.3, 119.7)),
    "RN50x4": ({"layers": [4, 6, 10, 6], "width": 80, "image_size": 288, "output_dim": 640}, (640, 10), (87.1, 178.3)),
    "RN50x16": (
        {"layers": [6, 8, 18, 8], "width": 96, "image_size": 384, "output_dim": 768},
        (768, 12),
        (167.3, 291.0),
    ),
    "RN50x64": (
        {"layers": [3, 15, 36, 10], "width": 128, "image_size": 448, "output_dim": 1024},
        (1024, 16),
        (420.4, 623.3),
    ),
}
"""Image tower, width and heads of the text tower, millions of parameters of the image tower and of the model, as in
open_clip's `docs/model_profile.csv`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_rn50(tmp_path_factory.mktemp("hub") / "rn50")


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipResNetModel:
    """A model for tests that do not change it."""
    return ClipResNetModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def inputs(folder: Path) -> Any:
    images = [random_image(0), random_image(1, (30, 70))]
    return AutoProcessor.from_pretrained(folder)(text=TEXTS, images=images, padding=True, return_tensors="pt")


def tower(**fields: Any) -> ClipResNetVisionModel:
    """A small image tower in double precision."""
    return lively(ClipResNetVisionModel(tiny_config(**fields).vision_config)).double()


def state_of(model: ClipResNetVisionModel) -> dict[str, torch.Tensor]:
    """The tensors of an image tower, attached to its parameters, by OpenAI's names."""
    return {as_in_openai(name): tensor for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def reference(model: ClipResNetVisionModel, images: torch.Tensor) -> torch.Tensor:
    """Image features in double precision, by the original computation."""
    state = {name: tensor.double() for name, tensor in state_of(model).items()}
    return encode_image(state, model.config.layers, images.double(), head_width=64)[0]


def pixels(count: int = 2, *size: int) -> torch.Tensor:
    return torch.randn(count, 3, *(size or (64, 64)), dtype=torch.float64)


# -- the original tower ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", RELEASED)
def test_features_and_gradients_are_those_of_the_original_tower(name: str, attention: str) -> None:
    model, images = tower(layers=RELEASED[name][0]["layers"]), pixels().requires_grad_()
    model.set_attn_implementation(attention)
    trained = {"pixels": images, **dict(model.named_parameters())}
    features = model(images).pooler_output
    expected = reference(model, images)
    assert features.dtype == torch.float64
    torch.testing.assert_close(features, expected, rtol=1e-11, atol=1e-11)
    assert (features[0] - features[1]).norm() > 0.02 * features[0].norm()
    direction = torch.randn_like(features)
    found, wanted = (torch.autograd.grad(each, list(trained.values()), direction) for each in (features, expected))
    for each, gradient, right in zip(trained, found, wanted, strict=True):
        if each.endswith("k_proj.bias"):  # the softmax cancels it
            assert gradient.abs().max() < 1e-12
        else:
            assert (gradient - right).norm() <= 1e-10 * right.norm(), each


def test_trained_batch_norms_normalise_by_the_batch_and_keep_statistics() -> None:
    model, images = tower().train(), pixels(3)
    state = {name: tensor.clone() for name, tensor in state_of(model).items()}
    expected, statistics = encode_image(state, model.config.layers, images, head_width=64, training=True)
    torch.testing.assert_close(model(images).pooler_output, expected, rtol=1e-10, atol=1e-10)
    updated = state_of(model)
    assert len(statistics) == 2 * sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for name, value in statistics.items():
        torch.testing.assert_close(updated[name], value)
    assert updated["bn1.num_batches_tracked"] == state["bn1.num_batches_tracked"] + 1


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_models_have_the_published_numbers_of_parameters(name: str) -> None:
    vision, (width, heads), published = RELEASED[name]
    text = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    config = ClipResNetConfig(text_config=text, vision_config=vision)
    with torch.device("meta"):
        model = ClipResNetModel(config)
    counts = [sum(each.numel() for each in part.parameters()) / 1e6 for part in (model.vision_model, model)]
    assert [round(count, 1) for count in counts] == pytest.approx(published, abs=0.11)
    if name == "RN50":
        assert len(model.vision_model.state_dict()) == 339  # of OpenAI's file, with the counts of batches
        assert config.vision_config == ClipResNetVisionConfig()


def test_image_features_have_no_further_projection(model: ClipResNetModel, inputs: Any) -> None:
    expected = reference(model.vision_model, inputs["pixel_values"])
    with torch.no_grad():
        features = model.get_image_features(inputs["pixel_values"]).pooler_output
    assert (features - expected).norm() < 1e-5 * expected.norm()


# -- sizes of images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 64), (32, 160), (75, 90)])
def test_positions_are_interpolated_for_other_sizes(size: tuple[int, int]) -> None:
    model, images = tower(), pixels(1, *size)
    with pytest.raises(ValueError, match=f"64 x 64 pixels, got {size[0]} x {size[1]}.*interpolate_pos_encoding=True"):
        model(images)
    output = model(images, interpolate_pos_encoding=True)
    rows, columns = size[0] // 32, size[1] // 32
    assert output.last_hidden_state.shape == (1, rows * columns, 128)
    state = state_of(model)
    state["attnpool.positional_embedding"] = interpolate_positions(
        state["attnpool.positional_embedding"], rows, columns
    )
    expected, _ = encode_image(state, model.config.layers, images, head_width=64)
    torch.testing.assert_close(output.pooler_output, expected, rtol=1e-9, atol=1e-9)


def test_images_of_the_trained_size_are_read_alike_with_interpolation() -> None:
    model, images = tower(), pixels()
    assert torch.equal(model(images, True).pooler_output, model(images).pooler_output)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"layers": [3, 4, 6]}, "four stages"),
        ({"layers": [3, 0, 6, 3]}, "four stages"),
        ({"width": 5}, "width"),
        ({"width": 0}, "width"),
        ({"image_size": 100}, "image_size"),
        ({"image_size": 0}, "image_size"),
        ({"head_width": 0}, "head_width"),
        ({"width": 10, "head_width": 48}, "head_width"),
    ],
)
def test_sizes_that_make_no_tower_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(StrictDataclassError, match=named):
        ClipResNetVisionConfig(**fields)


def test_features_of_texts_and_images_have_one_size() -> None:
    assert tiny_config().projection_dim == 24
    with pytest.raises(StrictDataclassError, match=r"projection_dim .* 16, got 24"):
        ClipResNetConfig(projection_dim=24, vision_config={"output_dim": 16})


def test_missing_images_are_named(model: ClipResNetModel, inputs: Any) -> None:
    with pytest.raises(ValueError, match="pixel_values"):
        model(input_ids=inputs["input_ids"])


# -- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_batch_norms_stay_in_single_precision_in_16_bits(
    dtype: torch.dtype, folder: Path, model: ClipResNetModel, inputs: Any
) -> None:
    half = AutoModel.from_pretrained(folder, dtype=dtype)
    assert half.dtype == half.vision_model.dtype == dtype
    norms = [tensor.dtype for name, tensor in half.state_dict().items() if ".normalization." in name]
    assert set(norms) == {torch.float32, torch.int64}
    with torch.no_grad():
        found, expected = half(**inputs), model(**inputs)
    for name in ("image_embeds", "text_embeds"):
        assert F.cosine_similarity(found[name].float(), expected[name]).min() > 0.998


def test_a_model_in_double_precision_computes_in_it(folder: Path, inputs: Any) -> None:
    model = AutoModel.from_pretrained(folder, dtype=torch.float64)
    images = inputs["pixel_values"].double()
    expected = reference(model.vision_model, images)
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        torch.testing.assert_close(model.get_image_features(images).pooler_output, expected, rtol=1e-10, atol=1e-10)


# -- batch norms in training -----------------------------------------------------------------------------------------


def test_batch_norms_of_a_frozen_tower_stay_in_eval_mode(folder: Path, inputs: Any) -> None:
    model = ClipResNetModel.from_pretrained(folder)
    model.vision_model.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.vision_model.named_buffers()}
    expected = model.get_image_features(inputs["pixel_values"]).pooler_output
    model.train()
    assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert torch.equal(model.get_image_features(inputs["pixel_values"]).pooler_output, expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.vision_model.named_buffers())
    model.vision_model.encoder.stages[3].requires_grad_(True)
    model.train()
    trained = [
        name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and module.training
    ]
    assert len(trained) == 4
    assert all(name.startswith("vision_model.encoder.stages.3.") for name in trained)
    assert not any(module.training for module in model.eval().modules())


def test_gradient_checkpointing_of_the_text_tower_changes_no_gradient(folder: Path, inputs: Any) -> None:
    model = ClipResNetModel.from_pretrained(folder).train()
    layers: list[bool] = []
    model.text_model.encoder.layers[0].self_attn.register_forward_hook(lambda *_: layers.append(True))

    def gradients() -> dict[str, torch.Tensor]:
        layers.clear()
        model.zero_grad()
        model(**inputs).logits_per_image.sum().backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    expected = gradients()
    assert len(layers) == 1
    model.activation_checkpointing_enable()
    torch.testing.assert_close(gradients(), expected, rtol=1e-5, atol=1e-6)
    assert len(layers) == 2  # it is run again in the backward pass
    with pytest.raises(ValueError, match="does not support"):
        model.vision_model.activation_checkpointing_enable()


# -- as a model of transformers --------------------------------------------------------------------------------------


def test_outputs_are_those_of_a_clip(model: ClipResNetModel, inputs: Any) -> None:
    with torch.no_grad():
        images = F.normalize(model.get_image_features(inputs["pixel_values"]).pooler_output, dim=-1)
        texts = model.text_projection(model.text_model(inputs["input_ids"]).pooler_output)
        texts = F.normalize(texts, dim=-1)
        square = {name: tensor[:2] for name, tensor in inputs.items()}
        output = model(**square, return_loss=True)
        everything = model(**inputs, output_hidden_states=True)
        plain = model(**inputs, return_dict=False)
    torch.testing.assert_close(everything.image_embeds, images)
    torch.testing.assert_close(everything.text_embeds, texts)
    torch.testing.assert_close(everything.logits_per_image, model.logit_scale.exp() * images @ texts.T)
    torch.testing.assert_close(everything.logits_per_text, everything.logits_per_image.T)
    logits, labels = output.logits_per_image, torch.arange(2)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(output.loss, expected)
    assert torch.equal(plain[0], everything.logits_per_image)
    shapes = [tuple(each.shape[1:]) for each in everything.vision_model_output.hidden_states]
    assert shapes == [(4, 16, 16), (16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2)]
    last = everything.vision_model_output.hidden_states[-1].flatten(2).transpose(1, 2)
    assert torch.equal(last, everything.vision_model_output.last_hidden_state)
    assert len(everything.text_model_output.hidden_states) == 3


def test_attentions_are_those_of_the_pool(folder: Path, inputs: Any) -> None:
    model = ClipResNetModel.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        output = model.vision_model(inputs["pixel_values"], output_attentions=True, output_hidden_states=True)
    (attention,) = output.attentions
    assert attention.shape == (2, 2, 1, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 1))
    pool = model.vision_model.attention_pool
    tokens = output.last_hidden_state
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.position_embedding.weight
    values = pool.v_proj(tokens).unflatten(-1, (2, 64))
    pooled = torch.einsum("bhq,bqhd->bhd", attention[:, :, 0], values)
    torch.testing.assert_close(pool.out_proj(pooled.flatten(1)), output.pooler_output)


def test_saved_folders_load_with_the_auto_classes(
    folder: Path, model: ClipResNetModel, inputs: Any, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is ClipResNetConfig
    assert config.vision_config.to_diff_dict() == tiny_config().vision_config.to_diff_dict()
    model.save_pretrained(tmp_path)
    for auto_class in (AutoModel, AutoModelForZeroShotImageClassification):
        loaded = auto_class.from_pretrained(tmp_path)
        assert type(loaded) is ClipResNetModel
        assert not loaded.training
        assert loaded.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert type(AutoProcessor.from_pretrained(folder)) is CLIPProcessor


def test_the_type_of_the_model_tells_the_processor_where_files_do_not(folder: Path, tmp_path: Path) -> None:
    """Folders of older versions name no class of the image processor."""
    AutoConfig.from_pretrained(folder).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 288}}')
    assert AutoImageProcessor.from_pretrained(tmp_path).size["shortest_edge"] == 288
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    assert AutoTokenizer.from_pretrained(tmp_path)("a cat")["input_ids"]


def test_the_image_tower_loads_from_a_complete_folder(
    folder: Path, model: ClipResNetModel, inputs: Any, tmp_path: Path
) -> None:
    vision = ClipResNetVisionModel.from_pretrained(folder)
    vision.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model.get_image_features(inputs["pixel_values"]).pooler_output
        for loaded in (vision, AutoModel.from_pretrained(tmp_path)):
            assert type(loaded) is ClipResNetVisionModel
            assert torch.equal(loaded(inputs["pixel_values"]).pooler_output, expected)


def test_the_zero_shot_pipeline_runs(folder: Path, model: ClipResNetModel) -> None:
    pipe = pipeline("zero-shot-image-classification", model=str(folder))
    answers: list[dict[str, Any]] = pipe(
        random_image(), candidate_labels=["cat", "dog"], hypothesis_template="a photo of a {}."
    )
    processor = AutoProcessor.from_pretrained(folder)
    texts = ["a photo of a cat.", "a photo of a dog."]
    with torch.no_grad():
        inputs = processor(text=texts, images=random_image(), padding=True, return_tensors="pt")
        scores = model(**inputs).logits_per_image[0].softmax(-1)
    assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(
        dict(zip(["cat", "dog"], scores.tolist(), strict=True)), rel=1e-4
    )


def test_a_new_block_starts_as_its_shortcut() -> None:
    model = ClipResNetModel(tiny_config(layers=[2, 1, 1, 1])).eval()
    assert model.logit_scale.item() == pytest.approx(2.6592)
    block = model.vision_model.encoder.stages[0].layers[1]
    states = torch.rand(1, 16, 4, 4)
    torch.testing.assert_close(block(states), states)
    assert model.vision_model.attention_pool.q_proj.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert model.vision_model.attention_pool.q_proj.bias.abs().max() == 0
