"""Stand-ins, as in `tests/stand_ins.py`, for checkpoints that fill in masked words of a text about a picture."""

import string
from pathlib import Path
from typing import Any

from transformers import AutoConfig, BertTokenizer, PreTrainedModel, RobertaTokenizer, ViltForMaskedLM

from tests.stand_ins import _folder, _lively, _save, _write_json


WORDS = (
    *("red", "purple", "yellow", "blue", "green", "pink", "black", "brown", "none", "irrelevant", "no", "relation"),
    *("the", "a", "is", "in", "on", "of", "color", "photo", "with", "horse", "dog", "cat", "woman", "watched", "by"),
    *("left", "right", "rid", "##ing", "hold", "sit", "stand", "##s", "##er"),
)
"""Whole words; all others are letters to a tokenizer."""


def bert_vocabulary() -> dict[str, int]:
    letters = [*string.ascii_lowercase, *string.digits, *".,!?'-[]"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    return {token: index for index, token in enumerate(tokens)}


def bert_tokenizer(model_max_length: int) -> BertTokenizer:
    """bert-base-uncased's tokenizer over a small vocabulary."""
    return BertTokenizer(vocab=bert_vocabulary(), model_max_length=model_max_length)


def dandelin_vilt_b32_mlm(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """dandelin/vilt-b32-mlm; pictures have a short side of 64 pixels.

    Args:
        folder: where to.
        seed: of the weights.
        changes: of the configuration's fields.
    """
    config = {
        "architectures": ["ViltForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 32,
        "image_size": 96,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "max_image_length": -1,
        "max_position_embeddings": 40,
        "modality_type_vocab_size": 2,
        "model_type": "vilt",
        "num_attention_heads": 4,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "num_images": -1,
        "patch_size": 32,
        "qkv_bias": True,
        "torch_dtype": "float32",
        "transformers_version": "4.16.0.dev0",
        "type_vocab_size": 2,
        "vocab_size": len(bert_vocabulary()),
        **changes,
    }
    preprocessor = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViltFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "size": 64,
        "size_divisor": 32,
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _write_model(ViltForMaskedLM(AutoConfig.from_pretrained(folder)), folder, seed)
    _write_json(folder / "preprocessor_config.json", preprocessor)
    bert_tokenizer(40).save_pretrained(folder)
    return folder


def _write_model(model: PreTrainedModel, folder: Path, seed: int) -> None:
    """Weights that share memory are written once, as in checkpoints of the Hub."""
    _lively(model, seed)
    model.tie_weights()
    config = (folder / "config.json").read_bytes()
    model.save_pretrained(folder)
    (folder / "config.json").write_bytes(config)
