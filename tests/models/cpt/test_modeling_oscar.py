"""Oscar equals a reference BERT over words and regions, is loaded by the Auto classes, and ignores padding."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForMaskedLM

from hf_prompt_models import OscarConfig, OscarForMaskedLM


SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "region_feature_size": 7,
}


def new_oscar(**changes: object) -> OscarForMaskedLM:
    """A tiny Oscar in eval mode, whose weights are large enough that everything shows in the logits."""
    model = OscarForMaskedLM(OscarConfig(**SIZES | changes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def new_inputs(words: int = 9, regions: int = 5) -> dict[str, torch.Tensor]:
    """Two examples, the first with two padded words and a padded region."""
    attention_mask, region_attention_mask = torch.ones(2, words).long(), torch.ones(2, regions).long()
    attention_mask[0, -2:] = 0
    region_attention_mask[0, -1:] = 0
    return {
        "input_ids": torch.randint(1, SIZES["vocab_size"], (2, words)),
        "attention_mask": attention_mask,
        "token_type_ids": torch.arange(words).gt(words // 2).long().expand(2, -1),
        "region_features": torch.randn(2, regions, SIZES["region_feature_size"]).double(),
        "region_attention_mask": region_attention_mask,
    }


def written_out(model: OscarForMaskedLM, inputs: dict[str, torch.Tensor], heads: int = 4) -> torch.Tensor:
    """Logits of the words, one example and one attention head at a time."""
    weights = {**model.state_dict()}
    eps = model.config.layer_norm_eps

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    rows = []
    for row in range(len(inputs["input_ids"])):
        ids = inputs["input_ids"][row]
        positions = inputs.get("position_ids", torch.arange(len(ids)).expand(len(inputs["input_ids"]), -1))[row]
        table = "bert.embeddings.{}_embeddings.weight"
        text = weights[table.format("word")][ids] + weights[table.format("position")][positions]
        text = text + weights[table.format("token_type")][inputs["token_type_ids"][row]]
        x = norm("bert.embeddings.LayerNorm", text, eps)
        regions = linear("bert.img_embedding", inputs["region_features"][row])
        if model.config.use_region_layer_norm:
            regions = norm("bert.LayerNorm", regions, model.config.region_layer_norm_eps)
        x = torch.cat([x, regions])
        seen = torch.cat([inputs["attention_mask"][row], inputs["region_attention_mask"][row]]).bool()
        for layer in range(model.config.num_hidden_layers):
            name = f"bert.encoder.layer.{layer}"
            query, key, value = (linear(f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
            width = x.shape[1] // heads
            parts = []
            for head in range(heads):
                mine = slice(head * width, (head + 1) * width)
                scores = query[:, mine] @ key[:, mine].T / math.sqrt(width)
                parts.append(scores.masked_fill(~seen, -math.inf).softmax(-1) @ value[:, mine])
            attended = linear(f"{name}.attention.output.dense", torch.cat(parts, -1))
            x = norm(f"{name}.attention.output.LayerNorm", attended + x, eps)
            inner = F.gelu(linear(f"{name}.intermediate.dense", x))
            x = norm(f"{name}.output.LayerNorm", linear(f"{name}.output.dense", inner) + x, eps)
        x = F.gelu(linear("cls.predictions.transform.dense", x[: len(ids)]))
        x = norm("cls.predictions.transform.LayerNorm", x, eps)
        rows.append(x @ weights["bert.embeddings.word_embeddings.weight"].T + weights["cls.predictions.bias"])
    return torch.stack(rows)


@pytest.mark.parametrize("layer_norm", [False, True])
@torch.no_grad()
def test_oscar_equals_bert_with_regions_written_out(layer_norm: bool) -> None:
    model, inputs = new_oscar(use_region_layer_norm=layer_norm, region_layer_norm_eps=1e-3), new_inputs()
    torch.testing.assert_close(model(**inputs).logits, written_out(model, inputs), rtol=0, atol=1e-10)
    single = {name: value.float() if value.is_floating_point() else value for name, value in inputs.items()}
    torch.testing.assert_close(model.float()(**single).logits, written_out(model, single), rtol=0, atol=1e-5)


@torch.no_grad()
def test_positions_can_be_given() -> None:
    model = new_oscar()
    inputs = {**new_inputs(), "position_ids": torch.arange(9).flip(0).expand(2, -1)}
    torch.testing.assert_close(model(**inputs).logits, written_out(model, inputs), rtol=0, atol=1e-10)


@torch.no_grad()
def test_padding_regions_change_nothing() -> None:
    model, inputs = new_oscar(), new_inputs()
    padded = {
        **inputs,
        "region_features": F.pad(inputs["region_features"], (0, 0, 0, 4), value=50.0),
        "region_attention_mask": F.pad(inputs["region_attention_mask"], (0, 4)),
    }
    torch.testing.assert_close(model(**padded).logits, model(**inputs).logits, rtol=0, atol=1e-10)


@torch.no_grad()
def test_regions_have_no_order_and_masks_default_to_everything() -> None:
    model, inputs = new_oscar(), new_inputs()
    del inputs["attention_mask"], inputs["region_attention_mask"]
    logits = model(**inputs).logits
    flipped = model(**inputs | {"region_features": inputs["region_features"].flip(1)}).logits
    torch.testing.assert_close(flipped, logits, rtol=0, atol=1e-10)
    ones = {"attention_mask": torch.ones(2, 9).long(), "region_attention_mask": torch.ones(2, 5).long()}
    torch.testing.assert_close(model(**inputs, **ones).logits, logits, rtol=0, atol=0)


@torch.no_grad()
def test_without_regions_it_is_bert_over_words() -> None:
    model, inputs = new_oscar(), new_inputs(regions=0)
    expected = written_out(model, inputs)
    del inputs["region_features"], inputs["region_attention_mask"]
    torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=1e-10)


def test_the_loss_is_cross_entropy_over_the_labelled_words_and_reaches_the_regions() -> None:
    model, inputs = new_oscar(), new_inputs()
    labels = torch.full((2, 9), -100)
    labels[0, 3], labels[1, 5] = 7, 11
    output = model(**inputs, labels=labels)
    log_probs = output.logits.log_softmax(-1)
    torch.testing.assert_close(output.loss.item(), -(log_probs[0, 3, 7] + log_probs[1, 5, 11]).item() / 2)
    output.loss.backward()
    assert model.bert.img_embedding.weight.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"use_region_layer_norm": True}, {"tie_word_embeddings": False}])
def test_the_auto_classes_load_what_was_saved(changes: dict[str, bool], tmp_path: Path) -> None:
    model, inputs = new_oscar(**changes), new_inputs()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), OscarConfig)
    assert isinstance(loaded, OscarForMaskedLM)
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-12)


def test_features_of_another_size_are_refused() -> None:
    model, inputs = new_oscar(), new_inputs()
    with pytest.raises(ValueError, match=r"region_features of shape \(2, regions, 7\) .*got \(2, 5, 6\)"):
        model(**inputs | {"region_features": inputs["region_features"][..., :6]})
