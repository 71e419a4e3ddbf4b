"""The towers against reference implementations of divided space-time attention and BERT; models of other weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertModel, ViTConfig, ViTModel

from hf_prompt_models import (
    AlproConfig,
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproVisionConfig,
)
from tests.models.alpro import little
from tests.models.alpro.written_out import WrittenOut
from tests.tested_method import random_image


@pytest.mark.parametrize("num_frames", [1, 2, 4, 8])
@torch.no_grad()
def test_the_video_tower_equals_divided_space_time_attention(num_frames: int) -> None:
    model = little.lively(AlproModel(little.config(num_frames))).double()
    video = little.videos(2, num_frames)
    output = model.get_video_features(video)
    reference = WrittenOut(model, prefix="")
    for found, feature, pixels in zip(output.last_hidden_state, output.pooler_output, video, strict=True):
        expected = reference.video(pixels)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(feature, reference.feature("video", expected[0]), rtol=0, atol=1e-9)
    single = model.float().get_video_features(video.float()).last_hidden_state
    torch.testing.assert_close(single.double(), output.last_hidden_state, rtol=0, atol=1e-5)


@torch.no_grad()
def test_text_and_fusion_equal_one_bert_over_the_concatenation() -> None:
    config = little.config()
    model = little.lively(AlproModel(config)).double()
    video, texts = little.videos(5), little.texts(5)
    output = model(pixel_values=video, **texts)
    reference = WrittenOut(model, prefix="")
    tokens = model.get_video_features(video).last_hidden_state
    bert = BertModel(config.text_config, add_pooling_layer=False).double()
    bert.load_state_dict(model.text_model.state_dict())
    bert.encoder.layer = bert.encoder.layer[: config.fusion_layer]
    theirs = bert(**texts).last_hidden_state
    for place in range(5):
        ids, mask = texts["input_ids"][place], texts["attention_mask"][place]
        seen = mask.bool()
        text = reference.text(ids, mask)
        torch.testing.assert_close(theirs[place][seen], text[seen], rtol=0, atol=1e-9)
        torch.testing.assert_close(output.text_embeds[place], reference.feature("text", text[0]), rtol=0, atol=1e-9)
        fused = reference.fuse(text, mask, tokens[place])
        whole = torch.cat([seen, torch.ones(len(tokens[place]), dtype=torch.bool)])
        torch.testing.assert_close(output.last_hidden_state[place][whole], fused[whole], rtol=0, atol=1e-9)


@torch.no_grad()
def test_a_new_model_reads_frames_as_a_vit_does() -> None:
    """Before training, the order of frames does not matter, and a still video equals its image."""
    model = AlproModel(little.config(num_frames=4)).double().eval()
    video = little.videos(2, num_frames=4)
    tokens = model.get_video_features(video).last_hidden_state
    turned = model.get_video_features(video.flip(1)).last_hidden_state
    torch.testing.assert_close(tokens, turned, rtol=0, atol=1e-9)
    still = video[:, :1].expand_as(video)
    single = AlproModel(little.config(num_frames=1)).double().eval()
    weights = model.state_dict()
    weights["video_model.embeddings.time_embeddings"] = weights["video_model.embeddings.time_embeddings"][:, :1]
    single.load_state_dict(weights)
    torch.testing.assert_close(
        model.get_video_features(still).last_hidden_state,
        single.get_video_features(video[:, :1]).last_hidden_state,
        rtol=0,
        atol=1e-9,
    )
    for name, parameter in model.video_model.named_parameters():
        if "temporal_dense" in name or "time_embeddings" in name:
            assert not parameter.any()


def test_the_last_layers_are_left_out_at_the_rate_of_the_configuration() -> None:
    assert AlproVisionConfig().drop_path_rate == 0.1
    config = little.config()
    config.vision_config.drop_path_rate = 0.4
    layers = AlproModel(config).video_model.encoder.layer
    assert isinstance(layers[0].drop_path, torch.nn.Identity)
    assert layers[1].drop_path.drop_prob == pytest.approx(0.4)


def test_the_defaults_are_alpros() -> None:
    config = AlproConfig()
    vision, text = config.vision_config, config.text_config
    assert (vision.num_hidden_layers, vision.hidden_size, vision.layer_norm_eps, vision.qkv_bias) == (
        12,
        768,
        1e-6,
        True,
    )
    assert (text.num_hidden_layers, text.hidden_size, config.fusion_layer) == (12, 768, 6)
    assert (config.projection_dim, config.num_frames, config.num_entities) == (256, 4, 1000)
    assert (config.pem_threshold, config.legacy_pem_threshold, config.weights_scope) == (0.2, False, "full")


# -- the number of frames --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_another_number_of_frames_is_refused_with_the_way_out(frames: int) -> None:
    model = AlproModel(little.config(num_frames=2))
    with pytest.raises(ValueError, match=rf"for 2 frames, got {frames}.*resize_time_embeddings\({frames}\)"):
        model.get_video_features(little.videos(1, frames).float())


@torch.no_grad()
def test_time_embeddings_are_resized_to_the_nearest() -> None:
    model = little.lively(AlproForPreTraining(little.config(num_frames=4)))
    before = model.alpro.video_model.embeddings.time_embeddings.clone()
    model.resize_time_embeddings(8)
    after = model.alpro.video_model.embeddings.time_embeddings
    assert torch.equal(after, before.repeat_interleave(2, dim=1))
    assert after.requires_grad
    assert not model.prompter.alpro.video_model.embeddings.time_embeddings.requires_grad
    assert model.config.num_frames == 8
    video, reference = little.videos(1, 8), WrittenOut(model.double())
    for towers in (model, model.prompter):
        assert towers.get_video_features(video).last_hidden_state.isfinite().all()
    torch.testing.assert_close(
        model.get_video_features(video).last_hidden_state[0], reference.video(video[0]), rtol=0, atol=1e-9
    )
    model.resize_time_embeddings(2)
    assert torch.equal(model.alpro.video_model.embeddings.time_embeddings, before[:, [0, 2]].double())
    with pytest.raises(ValueError, match="num_frames >= 1"):
        model.resize_time_embeddings(0)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(2, 3, 32, 32), r"pixel_values\[None\]"),
        (torch.zeros(1, 2, 3, 16, 16), "32 x 32 pixels, got \\(16, 16\\)"),
    ],
)
def test_pixels_of_another_shape_are_refused(pixels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlproModel(little.config()).get_video_features(pixels)


def test_a_text_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="41 tokens, but the model has 40 positions"):
        AlproModel(little.config()).get_text_features(torch.ones(1, 41, dtype=torch.long))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vision_config": {"hidden_size": 36}}, "their hidden sizes are 768 and 36"),
        ({"fusion_layer": 12}, "from 1 to 11"),
        ({"fusion_layer": 0}, "from 1 to 11"),
        ({"text_config": {"is_decoder": True}}, "is bidirectional"),
        ({"pem_threshold": 1.0}, "a probability"),
        ({"num_entities": -1}, "num_entities >= 0"),
        ({"entities": ["dog", "cat"]}, "2 names in entities, but num_entities=1000"),
        ({"entities": ["dog", "Dog "], "num_entities": 2}, "has the same name as entity 0"),
        ({"vision_config": {"num_frames": 0}}, "num_frames >= 1, got 0"),
        ({"vision_config": {"attention_type": "space_only"}}, "divided_space_time"),
        ({"vision_config": {"image_size": 30, "patch_size": 16}}, "not a multiple"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(StrictDataclassClassValidationError, match=message):
        AlproConfig(**fields)


# -- from a ViT and a BERT -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("towers")
    sizes = {"hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 48}
    little.lively(ViTModel(ViTConfig(image_size=32, patch_size=8, num_hidden_layers=2, **sizes))).save_pretrained(
        folder / "vit"
    )
    tokenizer = little.tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), num_hidden_layers=4, max_position_embeddings=40, **sizes)
    little.lively(BertForMaskedLM(config), seed=1).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    return folder / "vit", folder / "bert"


@torch.no_grad()
def test_a_still_video_is_read_as_the_vit_reads_its_image(towers: tuple[Path, Path]) -> None:
    model = AlproModel.from_towers(*towers, num_frames=3, projection_dim=16, num_entities=0)
    vit = ViTModel.from_pretrained(towers[0])
    picture = little.videos(2, 1).float()
    found = model.get_video_features(picture.expand(-1, 3, -1, -1, -1)).last_hidden_state
    torch.testing.assert_close(found, vit(picture[:, 0]).last_hidden_state, rtol=0, atol=1e-5)
    for layer in model.video_model.encoder.layer:
        for name, tensor in layer.attention.state_dict().items():
            assert torch.equal(layer.temporal_attention.state_dict()[name], tensor)
        assert torch.equal(layer.temporal_layernorm.weight, layer.layernorm_before.weight)
        assert not layer.temporal_dense.weight.any()


@torch.no_grad()
def test_text_and_masked_words_start_as_bert(towers: tuple[Path, Path]) -> None:
    model = AlproForPreTraining.from_towers(*towers, projection_dim=16, num_entities=0, max_text_length=30)
    bert = BertForMaskedLM.from_pretrained(towers[1])
    assert model.config.fusion_layer == 2
    for name, tensor in bert.bert.state_dict().items():
        assert torch.equal(model.alpro.text_model.state_dict()[name], tensor)
    for name, tensor in bert.cls.state_dict().items():
        assert torch.equal(model.mlm_head.state_dict()[name], tensor)
    assert model.mlm_head.predictions.decoder.weight is model.get_input_embeddings().weight
    assert (model.processor.num_frames, model.processor.max_text_length, model.processor.patch_size) == (4, 30, 8)


def test_it_is_ready_to_be_used_and_saved(towers: tuple[Path, Path], tmp_path: Path) -> None:
    model = AlproForVideoTextRetrieval.from_towers(*towers, num_frames=2, num_entities=0)
    clips = [[random_image(0), random_image(1)], [random_image(2)]]
    expected = model.rank(["a red dog"], clips)
    model.save_pretrained(tmp_path)
    assert torch.equal(AlproForVideoTextRetrieval.from_pretrained(tmp_path).rank(["a red dog"], clips), expected)


def test_towers_that_do_not_fit_are_refused(towers: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"of type 'bert'.*needs a ViT"):
        AlproModel.from_towers(towers[1], towers[1])
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((towers[0] / name).read_bytes()[: 300 if name.startswith("model") else None])
    with pytest.raises(OSError, match="is damaged"):
        AlproModel.from_towers(tmp_path, towers[1])


# -- from a saved model ----------------------------------------------------------------------------------------------


CLASSES = [AlproModel, AlproForPreTraining, AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering]


@pytest.mark.parametrize("source", CLASSES)
@pytest.mark.parametrize("wanted", CLASSES[1:])
def test_every_class_loads_from_every_other_silently(source: type, wanted: Any, tmp_path: Path) -> None:
    """`transformers_records` fails the test if there is a warning."""
    before = little.lively(source(little.config(num_entities=0)))
    model = wanted.from_backbone(little.saved(before, tmp_path / "a"), 2, 20)
    towers = before if isinstance(before, AlproModel) else before.alpro
    for name, tensor in towers.state_dict().items():
        assert torch.equal(model.alpro.state_dict()[name], tensor), name
    assert all(bool(torch.isfinite(each).all()) for each in model.parameters())
    if "vtm_head.weight" in before.state_dict() and "vtm_head.weight" in model.state_dict():
        assert torch.equal(model.vtm_head.weight, before.vtm_head.weight)
    assert (model.processor.num_frames, model.processor.max_text_length) == (2, 20)


def test_more_frames_resize_the_time_embeddings(tmp_path: Path) -> None:
    before = little.lively(AlproForPreTraining(little.config(num_entities=0)))
    model = AlproForVideoTextRetrieval.from_backbone(little.saved(before, tmp_path / "a"), 4, 30)
    old, new = (each.alpro.video_model.embeddings.time_embeddings for each in (before, model))
    assert torch.equal(new, old[:, [0, 0, 1, 1]])
    assert model.config.num_frames == model.processor.num_frames == 4


def test_the_same_answers_keep_their_head_and_others_get_a_new_one(tmp_path: Path) -> None:
    answers = ["dog", "cat", "ball"]
    fields = {"id2label": dict(enumerate(answers)), "label2id": {each: n for n, each in enumerate(answers)}}
    before = little.lively(AlproForVideoQuestionAnswering(little.config(num_entities=0, **fields)))
    directory = little.saved(before, tmp_path / "a")
    same = AlproForVideoQuestionAnswering.from_backbone(directory, 2, 30, answers=answers)
    assert torch.equal(same.classifier[2].weight, before.classifier[2].weight)
    for others in (["cat", "dog", "ball"], ["dog", "cat"], [*answers, "tree"]):
        model = AlproForVideoQuestionAnswering.from_backbone(directory, 2, 30, answers=others)
        assert list(model.config.id2label.values()) == others
        assert model.config.label2id[others[0]] == 0
        assert model.classifier[2].weight.shape[0] == len(others)
        assert not torch.equal(model.classifier[0].weight, before.classifier[0].weight)
        assert torch.equal(model.alpro.video_projection.weight, before.alpro.video_projection.weight)


def test_something_else_is_refused(tmp_path: Path) -> None:
    BertForMaskedLM(
        BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="'bert'"):
        AlproModel.from_backbone(str(tmp_path), 2, 30)


def test_a_file_that_lacks_towers_is_refused(tmp_path: Path) -> None:
    directory = little.saved(little.lively(AlproForPreTraining(little.config(num_entities=0))), tmp_path / "a")
    file = Path(directory) / "model.safetensors"
    tensors = {name: each for name, each in load_file(file).items() if "video_projection" not in name}
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of the ALPRO encoders"):
        AlproForVideoTextRetrieval.from_backbone(directory, 2, 30)
