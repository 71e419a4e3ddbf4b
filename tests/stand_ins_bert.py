"""Random-weight checkpoints, as in `tests/stand_ins.py`, of two-tower models whose text tower is a BERT."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AlignModel,
    AltCLIPModel,
    AutoConfig,
    BertTokenizer,
    ChineseCLIPModel,
    PreTrainedModel,
    XLMRobertaTokenizer,
)

from tests.stand_ins import _SMALL, _UNIGRAM_PIECES, _folder, _lively, _save, _write_json
from tests.vision_language_stand_ins import bert_vocabulary


CHINESE = "猫狗一张的照片。"
"""Characters in the vocabulary of the Chinese-CLIP."""

_VISION = {**_SMALL, "image_size": 64, "patch_size": 32, "hidden_act": "quick_gelu", "projection_dim": 24}
_BERT = {
    **_SMALL,
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}


def vocabulary_with(characters: str = "") -> dict[str, int]:
    """Return BERT's special tokens, letters and words, and further characters, with ids in order."""
    return {token: index for index, token in enumerate([*bert_vocabulary(), *characters])}


def ofa_sys_chinese_clip_vit_base_patch16(folder: str | Path, seed: int = 0, **widths: int) -> Path:
    """Write OFA-Sys/chinese-clip-vit-base-patch16, with 64 positions; `widths` change the text configuration."""
    config = {
        "architectures": ["ChineseCLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "chinese_clip",
        "projection_dim": 24,
        "text_config": {
            **_BERT,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "model_type": "chinese_clip_text_model",
            "vocab_size": len(vocabulary_with(CHINESE)),
            **widths,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.25.0.dev0",
        "vision_config": {**_VISION, "model_type": "chinese_clip_vision_model"},
    }
    folder = _write_model(ChineseCLIPModel, config, folder, seed)
    preprocessor = {
        "do_center_crop": False,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "ChineseCLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 64, "width": 64},
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    BertTokenizer(vocab=vocabulary_with(CHINESE), model_max_length=64).save_pretrained(folder)
    return folder


def baai_altclip(folder: str | Path, seed: int = 0, **widths: int) -> Path:
    """Write BAAI/AltCLIP, with 66 positions, of which XLM-R does not use the first two."""
    specials = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary = [*specials, *_UNIGRAM_PIECES[3:], *((token, -9.0) for token in "().!"), ("<mask>", 0.0)]
    config = {
        "architectures": ["AltCLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "altclip",
        "projection_dim": 24,
        "text_config": {
            **_BERT,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "initializer_factor": 0.02,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 66,
            "model_type": "altclip_text_model",
            "pad_token_id": 1,
            "pooler_fn": "cls",
            "project_dim": 28,
            "type_vocab_size": 1,
            "vocab_size": len(vocabulary),
            **widths,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.26.0.dev0",
        "vision_config": {**_VISION, "model_type": "altclip_vision_model"},
    }
    folder = _write_model(AltCLIPModel, config, folder, seed)
    preprocessor = {
        "crop_size": {"height": 64, "width": 64},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 64},
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    XLMRobertaTokenizer(vocab=vocabulary, model_max_length=64).save_pretrained(folder)
    return folder


def kakaobrain_align_base(folder: str | Path, seed: int = 0, **widths: int) -> Path:
    """Write kakaobrain/align-base, with 64 positions and three convolutional blocks."""
    config = {
        "architectures": ["AlignModel"],
        "initializer_range": 0.02,
        "model_type": "align",
        "projection_dim": 24,
        "temperature_init_value": 1.0,
        "text_config": {**_BERT, "model_type": "align_text_model", "vocab_size": len(vocabulary_with()), **widths},
        "torch_dtype": "float32",
        "transformers_version": "4.27.0.dev0",
        "vision_config": {
            "batch_norm_eps": 0.001,
            "batch_norm_momentum": 0.99,
            "depth_coefficient": 1.0,
            "depth_divisor": 8,
            "depthwise_padding": [1],
            "drop_connect_rate": 0.2,
            "expand_ratios": [1, 2, 2],
            "hidden_act": "swish",
            "hidden_dim": 64,
            "image_size": 64,
            "in_channels": [32, 16, 24],
            "kernel_sizes": [3, 5, 3],
            "model_type": "align_vision_model",
            "num_block_repeats": [1, 2, 1],
            "out_channels": [16, 24, 24],
            "pooling_type": "mean",
            "squeeze_expansion_ratio": 0.25,
            "strides": [1, 2, 2],
            "width_coefficient": 1.0,
        },
    }
    folder = _write_model(AlignModel, config, folder, seed)
    preprocessor = {
        "crop_size": {"height": 58, "width": 58},
        "do_center_crop": True,
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "EfficientNetImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "include_top": False,
        "resample": 2,
        "rescale_factor": 0.00784313725490196,
        "rescale_offset": True,
        "size": {"height": 70, "width": 70},
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    BertTokenizer(vocab=vocabulary_with(), model_max_length=64).save_pretrained(folder)
    return folder


def _write_model(model_class: type[PreTrainedModel], config: dict[str, Any], folder: str | Path, seed: int) -> Path:
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _save(_with_norms(_lively(model_class(AutoConfig.from_pretrained(folder)), seed), seed), folder)
    return folder


@torch.no_grad()
def _with_norms(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Also fill norms, the statistics of batch norms and ALIGN's temperature."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("temperature"):
            tensor.fill_(0.015)
        elif name.endswith(("LayerNorm.weight", "pre_LN.weight")):
            tensor.copy_(1 + 0.1 * noise)
        elif name.endswith(("batchnorm.weight", "_bn.weight", "norm.weight", "running_var")):
            tensor.copy_((1 + 0.1 * noise).abs())
        elif name.endswith("running_mean"):
            tensor.copy_(0.1 * noise)
    return model
