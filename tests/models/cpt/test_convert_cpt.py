"""Checkpoints of Oscar, VinVL and CPT are converted completely, and are converted back unchanged."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hf_prompt_models.models.cpt.convert_cpt import convert_from_original, convert_to_original
from tests.models.cpt.oscar import ORIGINAL_CONFIG, REGION_SIZE, original_state, write_original
from tests.models.cpt.test_modeling_oscar import written_out


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return set(found) == set(expected) and all(
        tensor.dtype == found[name].dtype and torch.equal(tensor, found[name]) for name, tensor in expected.items()
    )


@pytest.mark.parametrize("layout", ["oscar", "cpt"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_random_state_dicts_come_back_as_they_were(
    layout: str, tied: bool, layer_norm: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    state = {name: tensor.to(dtype) for name, tensor in original_state(layout, tied, layer_norm).items()}
    write_original(tmp_path / "original", state, use_img_layernorm=int(layer_norm))
    convert_from_original(tmp_path / "original", tmp_path / "ours")
    convert_to_original(tmp_path / "ours", tmp_path / "back")
    assert same(torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True), state)
    expected = {**ORIGINAL_CONFIG, "use_img_layernorm": int(layer_norm)}
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == expected
    vocabularies = [(tmp_path / folder / "vocab.txt").read_text() for folder in ("original", "back")]
    assert vocabularies[0] == vocabularies[1]


@torch.no_grad()
@pytest.mark.parametrize("layout", ["oscar", "cpt"])
@pytest.mark.parametrize("gamma", [True, False])
def test_a_converted_model_gives_the_logits_that_its_weights_written_out_give(
    layout: str, gamma: bool, tmp_path: Path
) -> None:
    write_original(tmp_path / "original", original_state(layout, gamma=gamma))
    convert_from_original(tmp_path / "original" / "pytorch_model.bin", tmp_path / "ours")
    assert "oscar" not in sys.modules
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "ours")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "ours")("The horse is in [MASK] color.", "red horse")
    inputs = {name: torch.tensor([value]) for name, value in tokens.items()}
    inputs["region_features"] = torch.randn(1, 3, REGION_SIZE)
    inputs["region_attention_mask"] = torch.ones(1, 3).long()
    head = original_state(layout)[f"cls{'.predictions' if layout == 'oscar' else ''}.transform.dense.weight"]
    assert torch.equal(model.cls.predictions.transform.dense.weight, head)
    torch.testing.assert_close(model(**inputs).logits, written_out(model, inputs), rtol=0, atol=1e-4)


def test_a_fine_tuned_head_of_its_own_is_not_replaced_by_the_words(tmp_path: Path) -> None:
    state = original_state("cpt", tied=False)
    model, _ = convert_from_original(write_original(tmp_path / "original", state), tmp_path / "ours")
    assert torch.equal(model.cls.predictions.decoder.weight, state["cls.decoder.weight"])
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path / "ours")
    assert torch.equal(loaded.cls.predictions.decoder.weight, state["cls.decoder.weight"])
    assert torch.equal(loaded.cls.predictions.decoder.bias, state["cls.bias"])


def test_files_of_the_time_are_read(tmp_path: Path) -> None:
    """Oscar's and VinVL's were written before PyTorch 1.6."""
    state = original_state("oscar")
    folder = write_original(tmp_path / "original", state)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    convert_from_original(folder, tmp_path / "ours")
    convert_to_original(tmp_path / "ours", tmp_path / "back")
    assert same(torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True), state)


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    state = original_state("oscar") | {"bert.embeddings.position_ids": torch.arange(60)[None], "extra": torch.ones(2)}
    _, report = convert_from_original(write_original(tmp_path / "original", state), tmp_path / "ours")
    text = "\n".join(report)
    unused = {
        *("bert.pooler.dense.weight", "bert.pooler.dense.bias", "cls.seq_relationship.weight"),
        *("cls.seq_relationship.bias", "bert.embeddings.position_ids", "extra"),
    }
    assert all(f"kept in unused.safetensors: {name}" in text for name in unused)
    assert set(load_file(tmp_path / "ours" / "unused.safetensors")) == unused
    assert "kept in conversion.json: finetuning_task, img_feature_type, num_contrast_classes" in text


def test_the_layout_can_be_chosen(tmp_path: Path) -> None:
    state = original_state("oscar")
    convert_from_original(write_original(tmp_path / "original", state), tmp_path / "ours")
    convert_to_original(tmp_path / "ours", tmp_path / "cpt", layout="cpt")
    written = torch.load(tmp_path / "cpt" / "pytorch_model.bin", weights_only=True)
    assert torch.equal(written["cls.transform.dense.weight"], state["cls.predictions.transform.dense.weight"])
    assert not any(name.startswith("cls.predictions") for name in written)


def test_the_bias_may_be_there_twice(tmp_path: Path) -> None:
    state = original_state("oscar")
    state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"].clone()
    convert_from_original(write_original(tmp_path / "original", state), tmp_path / "ours")
    convert_to_original(tmp_path / "ours", tmp_path / "back")
    assert same(torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True), state)
    state["cls.predictions.decoder.bias"] += 1
    with pytest.raises(ValueError, match=r"bias of the head and decoder\.bias differ"):
        convert_from_original(write_original(tmp_path / "original", state))


def without(state: dict[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("state", "changes", "message"),
    [
        (
            without(original_state("oscar"), "cls.") | {"classifier.0.weight": torch.ones(2)},
            {},
            "fine-tuned for anoth",
        ),
        (without(original_state("oscar"), "bert.img"), {}, r"lacks 2 tensor\(s\) of Oscar: bert.img_embedding"),
        (without(original_state("oscar"), "bert.emb"), {}, "is not a checkpoint of Oscar"),
        (
            original_state("oscar"),
            {"num_hidden_layers": 10**9},
            "has 2 layers, but the config.json next to it describes 1000000000",
        ),
        (original_state("oscar"), {"vocab_size": 10**9}, "has another vocab_size"),
        (original_state("oscar"), {"img_feature_dim": 11}, r"bert.img_embedding.weight has the shape \(16, 10\)"),
        (original_state("oscar"), {"hidden_act": 7}, "config.json is not a configuration of Oscar"),
        ({}, {}, "contains no named tensors"),
    ],
)
def test_what_is_no_masked_language_oscar_is_refused(
    state: dict[str, torch.Tensor], changes: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        convert_from_original(write_original(tmp_path, state, **changes))


def test_the_script_converts_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "convert.py"))["main"]
    state = original_state("oscar")
    write_original(tmp_path / "original", state)
    main(["cpt", "--checkpoint", str(tmp_path / "original"), "--output_dir", str(tmp_path / "ours")])
    main(["cpt", "--to_original", "--checkpoint", str(tmp_path / "ours"), "--output_dir", str(tmp_path / "back")])
    assert "kept in unused.safetensors: cls.seq_relationship.weight (3, 16)" in capsys.readouterr().out
    assert same(torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True), state)
