"""Random-weight checkpoints, as in `tests/stand_ins.py`, of models that predict masked words of texts about images."""

import string
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AddedToken,
    AutoConfig,
    BertTokenizer,
    BridgeTowerForMaskedLM,
    FlavaForPreTraining,
    LxmertForPreTraining,
    PreTrainedModel,
    RobertaTokenizer,
    ViltForMaskedLM,
    VisualBertForPreTraining,
)

from tests.stand_ins import _folder, _lively, _write_json


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
    """Write dandelin/vilt-b32-mlm; images have a shorter side of 64 pixels.

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


@torch.no_grad()
def _write_model(model: PreTrainedModel, folder: Path, seed: int) -> None:
    """Weights that share memory are written once, as in checkpoints of the Hub."""
    _lively(model, seed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):  # whatever its name
            module.weight.abs_().add_(1.0)
        elif isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):  # images must affect the words
            for parameter in module.parameters(recurse=False):
                parameter.mul_(2.0)
    model.tie_weights()
    config = (folder / "config.json").read_bytes()
    model.save_pretrained(folder)
    (folder / "config.json").write_bytes(config)


def bridgetower_base_itm_mlm(folder: str | Path, seed: int = 0) -> Path:
    """Write BridgeTower/bridgetower-base-itm-mlm, with the tokenizer of RoBERTa and square centre crops."""
    tokenizer = roberta_tokenizer()
    config = {
        "architectures": ["BridgeTowerForMaskedLM"],
        "head_hidden_scale": 2,
        "hidden_act": "gelu",
        "hidden_size": 64,
        "initializer_factor": 1,
        "is_encoder_decoder": False,
        "layer_norm_eps": 1e-05,
        "link_tower_shared": False,
        "link_tower_type": "add",
        "max_text_len": 50,
        "model_type": "bridgetower",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "share_cross_modal_transformer_layers": True,
        "share_link_tower_layers": False,
        "text_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "max_position_embeddings": 62,
            "model_type": "bridgetower_text_model",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "vocab_size": len(tokenizer),
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.26.0.dev0",
        "vision_config": {
            "hidden_size": 64,
            "image_size": 64,
            "model_type": "bridgetower_vision_model",
            "num_hidden_layers": 3,
            "patch_size": 16,
        },
    }
    preprocessor = {
        "crop_size": {"shortest_edge": 64},
        "do_center_crop": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "BridgeTowerImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 64},
        "size_divisor": 32,
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _write_model(BridgeTowerForMaskedLM(AutoConfig.from_pretrained(folder)), folder, seed)
    _write_json(folder / "preprocessor_config.json", preprocessor)
    tokenizer.save_pretrained(folder)
    return folder


def roberta_tokenizer() -> RobertaTokenizer:
    """RoBERTa's: words begin with their space, and the mask token takes the space before it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
    tokens, merges = ["<s>", "<pad>", "</s>", "<unk>", *symbols], []
    for word in WORDS:
        if not word.startswith("##"):
            merged = "Ġ"
            for letter in word:
                if merged + letter not in tokens:
                    tokens.append(merged + letter)
                    merges.append((merged, letter))
                merged += letter
    vocabulary = {token: index for index, token in enumerate([*tokens, "<mask>"])}
    mask = AddedToken("<mask>", lstrip=True, normalized=True, special=True)
    return RobertaTokenizer(vocab=vocabulary, merges=merges, mask_token=mask, model_max_length=60)


def facebook_flava_full(folder: str | Path, seed: int = 0) -> Path:
    """facebook/flava-full."""
    part = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = {
        "architectures": ["FlavaForPreTraining"],
        "ce_ignore_index": -100,
        "global_contrastive_weight": 1.0,
        "hidden_size": 32,
        "image_codebook_config": {
            "model_type": "flava_image_codebook",
            "hidden_size": 4,
            "vocab_size": 16,
            "num_blocks_per_group": 1,
        },
        "image_config": {
            **part,
            "image_size": 64,
            "model_type": "flava_image_model",
            "patch_size": 16,
            "vocab_size": 16,
        },
        "init_codebook": True,
        "initializer_range": 0.02,
        "itm_weight": 1.0,
        "logit_scale_init_value": 2.6592,
        "mim_weight": 1.0,
        "mlm_weight": 1.0,
        "mmm_image_weight": 1.0,
        "mmm_text_weight": 1.0,
        "model_type": "flava",
        "multimodal_config": {**part, "model_type": "flava_multimodal_model", "use_cls_token": True},
        "projection_dim": 32,
        "return_loss": True,
        "skip_unmasked_multimodal_encoder": True,
        "text_config": {
            **part,
            "max_position_embeddings": 77,
            "model_type": "flava_text_model",
            "vocab_size": len(bert_vocabulary()),
        },
        "torch_dtype": "float32",
        "transformers_version": None,
    }
    preprocessor = {
        "crop_size": {"height": 64, "width": 64},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "FlavaImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "FlavaProcessor",
        "resample": 3,
        "size": {"height": 64, "width": 64},
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _write_model(FlavaForPreTraining(AutoConfig.from_pretrained(folder)), folder, seed)
    _write_json(folder / "preprocessor_config.json", preprocessor)
    bert_tokenizer(77).save_pretrained(folder)
    return folder


def uclanlp_visualbert_vqa_coco_pre(folder: str | Path, seed: int = 0) -> Path:
    """uclanlp/visualbert-vqa-coco-pre, with a tokenizer, which the Hub's has not."""
    config = {
        "architectures": ["VisualBertForPreTraining"],
        "attention_probs_dropout_prob": 0.1,
        "bypass_transformer": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
        "model_type": "visual_bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "special_visual_initialize": True,
        "type_vocab_size": 2,
        "visual_embedding_dim": 12,
        "vocab_size": len(bert_vocabulary()),
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _write_model(VisualBertForPreTraining(AutoConfig.from_pretrained(folder)), folder, seed)
    bert_tokenizer(64).save_pretrained(folder)
    return folder


def unc_nlp_lxmert_base_uncased(folder: str | Path, seed: int = 0) -> Path:
    """unc-nlp/lxmert-base-uncased."""
    config = {
        "architectures": ["LxmertForPreTraining"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "l_layers": 2,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
        "model_type": "lxmert",
        "num_attention_heads": 4,
        "num_attr_labels": 4,
        "num_object_labels": 5,
        "num_qa_labels": 6,
        "r_layers": 1,
        "task_mask_lm": True,
        "task_matched": True,
        "task_obj_predict": True,
        "task_qa": True,
        "type_vocab_size": 2,
        "visual_attr_loss": True,
        "visual_feat_dim": 12,
        "visual_feat_loss": True,
        "visual_loss_normalizer": 6.67,
        "visual_obj_loss": True,
        "visual_pos_dim": 4,
        "vocab_size": len(bert_vocabulary()),
        "x_layers": 1,
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _write_model(LxmertForPreTraining(AutoConfig.from_pretrained(folder)), folder, seed)
    bert_tokenizer(64).save_pretrained(folder)
    return folder
