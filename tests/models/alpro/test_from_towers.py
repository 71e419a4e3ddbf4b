"""A new model begins as a ViT and a BERT."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, ViTConfig, ViTModel

from hf_prompt_models import AlproForPreTraining, AlproForVideoTextRetrieval, AlproModel
from tests.models.alpro import little
from tests.tested_method import random_image


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
def test_a_still_video_is_read_as_the_vit_reads_its_picture(towers: tuple[Path, Path]) -> None:
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
def test_text_and_masked_words_begin_as_bert_s(towers: tuple[Path, Path]) -> None:
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
    with pytest.raises(TypeError, match=r"of type 'bert'.*begins as a ViT"):
        AlproModel.from_towers(towers[1], towers[1])
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((towers[0] / name).read_bytes()[: 300 if name.startswith("model") else None])
    with pytest.raises(OSError, match="is damaged"):
        AlproModel.from_towers(tmp_path, towers[1])
