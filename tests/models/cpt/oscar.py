"""A tiny Oscar for tests, in the format of this package and in the original format."""

import json
from pathlib import Path
from typing import Any

import torch

from hf_prompt_models import OscarConfig, OscarForMaskedLM
from tests.vision_language_stand_ins import bert_tokenizer, bert_vocabulary


REGION_SIZE = 10


def new_model(seed: int = 0, **changes: Any) -> OscarForMaskedLM:
    """Weights are large enough that everything shows in the logits."""
    config = OscarConfig(
        **{
            "vocab_size": len(bert_vocabulary()),
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 24,
            "max_position_embeddings": 60,
            "region_feature_size": REGION_SIZE,
            **changes,
        }
    )
    torch.manual_seed(seed)
    model = OscarForMaskedLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def write_backbone(folder: Path, **changes: Any) -> Path:
    """A checkpoint folder of this package's form, tokenizer and all."""
    new_model(**changes).save_pretrained(folder)
    bert_tokenizer(60).save_pretrained(folder)
    return folder


def original_state(
    layout: str, tied: bool = True, layer_norm: bool = False, gamma: bool = False, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A state dict of the original code, written out name by name.

    Args:
        layout: "oscar", as pretraining saves it, or "cpt", as CPT's few-shot code does.
        tied: whether the head's matrix is that of the words.
        layer_norm: whether regions are normalised.
        gamma: whether norms have TensorFlow's names.
        seed: of the numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    words, width, inner, layers = len(bert_vocabulary()), 16, 24, 2
    state: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.randn(*shape, generator=generator) * 0.3

    def add_linear(name: str, rows: int, columns: int) -> None:
        add(f"{name}.weight", rows, columns)
        add(f"{name}.bias", rows)

    def add_norm(name: str) -> None:
        add(f"{name}.{'gamma' if gamma else 'weight'}", width)
        add(f"{name}.{'beta' if gamma else 'bias'}", width)

    for name, count in (("word", words), ("position", 60), ("token_type", 2)):
        add(f"bert.embeddings.{name}_embeddings.weight", count, width)
    add_norm("bert.embeddings.LayerNorm")
    for layer in range(layers):
        prefix = f"bert.encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            add_linear(f"{prefix}.attention.{part}", width, width)
        add_norm(f"{prefix}.attention.output.LayerNorm")
        add_linear(f"{prefix}.intermediate.dense", inner, width)
        add_linear(f"{prefix}.output.dense", width, inner)
        add_norm(f"{prefix}.output.LayerNorm")
    add_linear("bert.pooler.dense", width, width)
    add_linear("bert.img_embedding", width, REGION_SIZE)
    if layer_norm:
        add_norm("bert.LayerNorm")
    head = "cls.predictions" if layout == "oscar" else "cls"
    add(f"{head}.bias", words)
    add_linear(f"{head}.transform.dense", width, width)
    add_norm(f"{head}.transform.LayerNorm")
    add(f"{head}.decoder.weight", words, width)
    if tied:
        state[f"{head}.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
    if layout == "oscar":
        add_linear("cls.seq_relationship", 3, width)
    return state


ORIGINAL_CONFIG: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1,
    "finetuning_task": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 16,
    "img_feature_dim": REGION_SIZE,
    "img_feature_type": "faster_r-cnn",
    "img_layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "intermediate_size": 24,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 60,
    "num_attention_heads": 4,
    "num_contrast_classes": 3,
    "num_hidden_layers": 2,
    "num_labels": 2,
    "torchscript": False,
    "type_vocab_size": 2,
    "use_img_layernorm": 0,
    "vocab_size": len(bert_vocabulary()),
}


def write_original(folder: Path, state: dict[str, torch.Tensor], **changes: Any) -> Path:
    """A folder as the original code saves it; `changes` are of the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(ORIGINAL_CONFIG | changes))
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()) + "\n", encoding="utf-8")
    return folder
