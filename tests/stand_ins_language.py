"""Random-weight checkpoints of language models and of a ResNet, with the files and `config.json` fields of the Hub.

As in `stand_ins`, only widths, depths and vocabularies are reduced, and weights are larger than with the
initialisation of transformers.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
)


MERGES = ["Ġ a", "Ġ t", "Ġt h", "Ġth e", "e d", "r ed", "Ġ m", "Ġm u", "Ġmu g", "i n", "in g"]


def byte_vocabulary(specials: list[str]) -> dict[str, int]:
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*specials, *symbols, *("".join(merge.split()) for merge in MERGES)]
    return {token: index for index, token in enumerate(tokens)}


def write_byte_tokenizer(folder: Path, specials: list[str], start: str | None = None, **names: str) -> int:
    """GPT-2's kind of tokenizer, in the files of the Hub; the size of its vocabulary."""
    vocabulary = byte_vocabulary(specials)
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(merge.split()) for merge in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    if start is None:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, vocabulary[start])]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **names},
    )
    return len(vocabulary)


END = "<|endoftext|>"


def gpt2(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """gpt2: absolute positions, tied, no padding token, nothing in front of a text."""
    vocab_size = write_byte_tokenizer(Path(folder), [END], bos_token=END, eos_token=END, unk_token=END)
    config = {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 0,
        "embd_pdrop": 0.1,
        "eos_token_id": 0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 64,
        "n_embd": 32,
        "n_head": 4,
        "n_layer": 2,
        "n_positions": 64,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": vocab_size,
    }
    return _write_language_model(folder, seed, config | changes)


def opt_125m(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """facebook/opt-125m: `</s>` in front of a text, spare rows in the vocabulary, vectors narrower than the layers.

    The last is opt-350m's.
    """
    vocab_size = write_byte_tokenizer(
        Path(folder),
        ["<s>", "<pad>", "</s>", "<unk>"],
        start="</s>",
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="</s>",
    )
    config = {
        "_name_or_path": "facebook/opt-125m",
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "architectures": ["OPTForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "eos_token_id": 2,
        "ffn_dim": 64,
        "hidden_size": 32,
        "init_std": 0.02,
        "layerdrop": 0.0,
        "max_position_embeddings": 64,
        "model_type": "opt",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "prefix": "</s>",
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": vocab_size + 7,
        "word_embed_proj_dim": 16,
    }
    return _write_language_model(folder, seed, config | changes)


def gpt_j_6b(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """EleutherAI/gpt-j-6b: rotary positions, untied, an output layer with biases."""
    vocab_size = write_byte_tokenizer(Path(folder), [END], bos_token=END, eos_token=END, unk_token=END)
    config = {
        "activation_function": "gelu_new",
        "architectures": ["GPTJForCausalLM"],
        "attn_pdrop": 0.0,
        "bos_token_id": 0,
        "embd_pdrop": 0.0,
        "eos_token_id": 0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gptj",
        "n_embd": 32,
        "n_head": 4,
        "n_inner": None,
        "n_layer": 2,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "rotary_dim": 4,
        "tie_word_embeddings": False,
        "vocab_size": vocab_size,
    }
    return _write_language_model(folder, seed, config | changes)


def pythia_70m(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """EleutherAI/pythia-70m (gpt_neox): rotary positions, untied."""
    specials = [END, "<|padding|>"]
    vocab_size = write_byte_tokenizer(Path(folder), specials, bos_token=END, eos_token=END, unk_token=END)
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 64,
        "model_type": "gpt_neox",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": vocab_size + 27,
    }
    return _write_language_model(folder, seed, config | changes)


def llama(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """Write a current Llama: `<s>` in front of a text, tied embeddings, grouped-query attention."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocab_size = write_byte_tokenizer(Path(folder), ["<unk>", "<s>", "</s>"], start="<s>", **names)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
    return _write_language_model(folder, seed, config | changes)


def bloom_560m(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """Write bigscience/bloom-560m, which uses ALiBi and has no position embeddings."""
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    vocab_size = write_byte_tokenizer(Path(folder), ["<unk>", "<s>", "</s>", "<pad>"], **names)
    config = {
        "apply_residual_connection_post_layernorm": False,
        "architectures": ["BloomForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_dropout": 0.0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "bloom",
        "n_head": 4,
        "n_layer": 2,
        "hidden_size": 32,
        "pad_token_id": 3,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
    return _write_language_model(folder, seed, config | changes)


LANGUAGE_MODELS: dict[str, Callable[..., Path]] = {
    "gpt2": gpt2,
    "opt": opt_125m,
    "gptj": gpt_j_6b,
    "gpt_neox": pythia_70m,
    "llama": llama,
    "bloom": bloom_560m,
}


RESNET_CONFIG = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], num_labels=3)


def resnet_152(folder: str | Path, seed: int = 0) -> Path:
    """microsoft/resnet-152: weights of a classifier, an image processor that resizes the short side and crops."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fields = RESNET_CONFIG.to_dict() | {"architectures": ["ResNetForImageClassification"], "torch_dtype": "float32"}
    _write_json(folder / "config.json", fields)
    model = _lively(ResNetForImageClassification(RESNET_CONFIG), seed)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.linspace(0.5, 1.5, len(buffer)))
        elif name.endswith("running_mean"):
            buffer.copy_(torch.linspace(-0.2, 0.2, len(buffer)))
    _save(model, folder)
    preprocessor = {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 64,
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    return folder


def _write_language_model(folder: str | Path, seed: int, config: dict[str, Any]) -> Path:
    folder = Path(folder)
    _write_json(folder / "config.json", config)
    _save(_lively(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)), seed), folder)
    return folder


@torch.no_grad()
def _lively(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Weights under which every position, image and neighbour shows in the outputs."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            around = 1.0 if name.endswith("weight") else 0.0
            parameter.copy_(around + 0.1 * noise)
        elif any(part in name for part in ("wte", "wpe", "embed_tokens", "embed_positions", "embed_in", "word_emb")):
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_(1.5 * noise * parameter[0].numel() ** -0.5)
    return model


def _save(model: PreTrainedModel, folder: Path) -> None:
    tied = model.all_tied_weights_keys
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name not in tied}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
