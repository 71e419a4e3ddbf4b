"""Random-weight checkpoints with the files and `config.json` fields of the most used Hub checkpoints.

There is one function per checkpoint, which writes a complete folder. Only widths, depths and vocabularies are reduced.
Weights are larger than with the initialisation of transformers, so that positions, context and neighbours all affect
the outputs: a wrong mask or order must not be hidden by a tolerance.
"""

import json
import re
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    GemmaTokenizer,
    MetaClip2Model,
    PreTrainedModel,
    Siglip2Model,
    SiglipModel,
    TokenizersBackend,
    XLMRobertaTokenizer,
)


START, END = "<|startoftext|>", "<|endoftext|>"

# Enough for the cases that matter: words of one token and of several, and punctuation that the full stop merges with.
CLIP_MERGES = [
    "a n",
    "c a",
    "ca t</w>",
    "d o",
    "do g</w>",
    "i n",
    "in g</w>",
    "o f</w>",
    "p h",
    "o t",
    "ph ot",
    "phot o</w>",
    "t h",
    "th e</w>",
    ") .</w>",  # ")." is one token, so a name that ends in ")" shares its last token with the full stop
    "! .</w>",
    ". .</w>",
    '" ..</w>',  # '"..' is one token and '".' two: with its full stop the name '".' has one token less than it alone
]


def clip_vocabulary() -> dict[str, int]:
    """In the order of CLIP's own: bytes, bytes that end a word, merges, start, end."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(m.split()) for m in CLIP_MERGES)]
    return {token: index for index, token in enumerate([*tokens, START, END])}


def openai_clip_vit_base_patch32(folder: str | Path, seed: int = 0, **changes: int) -> Path:
    """Write openai/clip-vit-base-patch32, whose text configuration has a wrong end token, `eos_token_id: 2`.

    Args:
        folder: where to.
        seed: of the weights.
        changes: other widths and depths: `text_width`, `vision_width`, `projection_dim`, `text_layers`,
            `vision_layers`.
    """
    text_width, vision_width = changes.get("text_width", 32), changes.get("vision_width", 48)
    projection_dim = changes.get("projection_dim", 24)
    text_config = {
        **_generation_fields(bos_token_id=0, eos_token_id=2, pad_token_id=1),
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "hidden_act": "quick_gelu",
        "hidden_size": text_width,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 4,
        "num_hidden_layers": changes.get("text_layers", 2),
        "projection_dim": projection_dim,
        "vocab_size": len(clip_vocabulary()),
    }
    vision_config = {
        **_generation_fields(bos_token_id=None, eos_token_id=None, pad_token_id=None),
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "hidden_act": "quick_gelu",
        "hidden_size": vision_width,
        "image_size": 224,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model",
        "num_attention_heads": 4,
        "num_hidden_layers": changes.get("vision_layers", 2),
        "patch_size": 32,
        "projection_dim": projection_dim,
    }
    config = {
        "_name_or_path": "openai/clip-vit-base-patch32",
        "architectures": ["CLIPModel"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "clip",
        "projection_dim": projection_dim,
        "text_config": text_config,
        "text_config_dict": None,
        "transformers_version": None,
        "vision_config": vision_config,
        "vision_config_dict": None,
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    model = _lively(CLIPModel(AutoConfig.from_pretrained(folder)), seed)
    weights = dict(model.state_dict())
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[
        None
    ]  # buffers of old releases, still in the file
    weights["vision_model.embeddings.position_ids"] = torch.arange(50)[None]
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    _write_openai_preprocessor(folder)
    _write_clip_tokenizer(folder)
    return folder


def modern_clip(folder: str | Path, seed: int = 0) -> Path:
    """A CLIP that today's transformers saved: the text tower's `eos_token_id` is the tokenizer's end token."""
    vocabulary = clip_vocabulary()
    config = CLIPConfig(
        text_config={
            "bos_token_id": vocabulary[START],
            "eos_token_id": vocabulary[END],
            "pad_token_id": vocabulary[END],
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "projection_dim": 24,
            "vocab_size": len(vocabulary),
        },
        vision_config={
            "hidden_size": 48,
            "image_size": 224,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "patch_size": 32,
            "projection_dim": 24,
        },
        projection_dim=24,
    )
    folder = _folder(folder)
    _lively(CLIPModel(config), seed).save_pretrained(folder)
    _write_openai_preprocessor(folder)
    clip_tokenizer().save_pretrained(folder)
    return folder


def google_siglip_base_patch16_224(folder: str | Path, seed: int = 0, **widths: int) -> Path:
    """google/siglip-base-patch16-224. Its tokenizer is written as a `tokenizer.json`, which needs no sentencepiece."""
    folder = _write_siglip(folder, seed, len(_UNIGRAM_PIECES), widths)
    siglip_tokenizer().save_pretrained(folder)
    return folder


def google_siglip2_base_patch16_224(folder: str | Path, seed: int = 0) -> Path:
    """google/siglip2-base-patch16-224: SigLIP's model, Gemma's tokenizer."""
    folder = _write_siglip(folder, seed, len(_gemma_vocabulary()), {})
    _write_gemma_tokenizer(folder)
    return folder


def google_siglip2_base_patch16_naflex(folder: str | Path, seed: int = 0) -> Path:
    """google/siglip2-base-patch16-naflex: images are sequences of patches."""
    config = {
        "architectures": ["Siglip2Model"],
        "initializer_factor": 1.0,
        "model_type": "siglip2",
        "text_config": {
            "model_type": "siglip2_text_model",
            "vocab_size": len(_gemma_vocabulary()),
            "projection_size": 32,
            **_SMALL,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.49.0.dev0",
        "vision_config": {"model_type": "siglip2_vision_model", "num_patches": 256, "patch_size": 16, **_SMALL},
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _save(_lively(Siglip2Model(AutoConfig.from_pretrained(folder)), seed), folder)
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "Siglip2ImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "max_num_patches": 256,
        "patch_size": 16,
        "processor_class": "Siglip2Processor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    _write_gemma_tokenizer(folder)
    return folder


def facebook_metaclip_2_worldwide(folder: str | Path, seed: int = 0) -> Path:
    """facebook/metaclip-2-worldwide-*: CLIP's towers under a tokenizer whose end token really is 2."""
    text_config = {
        "bos_token_id": 0,
        "eos_token_id": 2,
        "max_position_embeddings": 77,
        "model_type": "metaclip_2_text_model",
        "projection_dim": 24,
        "vocab_size": 5 + len(_UNIGRAM_PIECES),
        **_SMALL,
    }
    vision_config = {
        "image_size": 224,
        "model_type": "metaclip_2_vision_model",
        "patch_size": 32,
        "projection_dim": 24,
        **_SMALL,
    }
    config = {
        "architectures": ["MetaClip2Model"],
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "model_type": "metaclip_2",
        "projection_dim": 24,
        "text_config": text_config,
        "vision_config": vision_config,
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _save(_lively(MetaClip2Model(AutoConfig.from_pretrained(folder)), seed), folder)
    _write_openai_preprocessor(folder)
    specials = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary = [*specials, *_UNIGRAM_PIECES[3:], *((token, -9.0) for token in "().!"), ("<mask>", 0.0)]
    XLMRobertaTokenizer(vocab=vocabulary, model_max_length=77).save_pretrained(folder)
    return folder


def _write_siglip(folder: str | Path, seed: int, vocab_size: int, widths: dict[str, int]) -> Path:
    config = {
        "architectures": ["SiglipModel"],
        "initializer_factor": 1.0,
        "model_type": "siglip",
        "text_config": {
            "model_type": "siglip_text_model",
            "vocab_size": vocab_size,
            "projection_size": 32,
            **_SMALL,
            **widths,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.37.0.dev0",
        "vision_config": {"model_type": "siglip_vision_model", **_SMALL},
    }
    folder = _folder(folder)
    _write_json(folder / "config.json", config)
    _save(_lively(SiglipModel(AutoConfig.from_pretrained(folder)), seed), folder)
    preprocessor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SiglipProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 224, "width": 224},
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)
    return folder


_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}

_UNIGRAM_PIECES = [
    *((token, 0.0) for token in ("<pad>", "</s>", "<unk>")),
    ("▁", -3.0),
    *((letter, -6.0) for letter in string.ascii_lowercase + string.digits),
    *((word, -4.0) for word in ("▁a", "▁cat", "▁dog", "▁of", "▁the", "photo", "▁photo", "ing", "an")),
]
"""With their log-probabilities, ids in order."""


def siglip_tokenizer() -> TokenizersBackend:
    """SigLIP's tokenizer: lower case, no punctuation, a unigram model, an end token that is the padding too."""
    backend = Tokenizer(models.Unigram(_UNIGRAM_PIECES, unk_id=2))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return TokenizersBackend(
        tokenizer_object=backend,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_max_length=64,
        model_input_names=["input_ids"],
    )


_GEMMA_MERGES = [
    "a t",
    "c at",
    "▁ cat",
    "▁ a",
    "p h",
    "o t",
    "ph ot",
    "phot o",
    "▁ photo",
    "o f",
    "▁ of",
    ") .",
    "x .",
    "o x",
]


def _gemma_vocabulary() -> dict[str, int]:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    symbols = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(ord("!"), ord("~") + 1))]
    tokens = [*specials, *symbols, *("".join(merge.split()) for merge in _GEMMA_MERGES)]
    return {token: index for index, token in enumerate(tokens)}


def _write_gemma_tokenizer(folder: Path) -> None:
    tokenizer = GemmaTokenizer(
        vocab=_gemma_vocabulary(),
        merges=[tuple(merge.split()) for merge in _GEMMA_MERGES],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_max_length=64,
        model_input_names=["input_ids"],
    )
    tokenizer.save_pretrained(folder)


def clip_tokenizer(merges: list[str] | None = None) -> CLIPTokenizer:
    """CLIP's tokenizer over the small vocabulary."""
    pairs = [tuple(merge.split()) for merge in (CLIP_MERGES if merges is None else merges)]
    return CLIPTokenizer(vocab=clip_vocabulary(), merges=pairs, model_max_length=77)


def _write_clip_tokenizer(folder: Path) -> None:
    """The five tokenizer files of OpenAI's repositories."""

    def special(content: str) -> dict[str, Any]:
        return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    _write_json(folder / "vocab.json", clip_vocabulary())
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *CLIP_MERGES, ""]), encoding="utf-8")
    clip_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"bos_token": special(START), "eos_token": special(END), "unk_token": special(END), "pad_token": END}
    _write_json(folder / "special_tokens_map.json", specials)
    tokenizer_config = {
        **{name: token | {"__type": "AddedToken"} for name, token in specials.items() if name != "pad_token"},
        "pad_token": END,
        "add_prefix_space": False,
        "errors": "replace",
        "do_lower_case": True,
        "name_or_path": "openai/clip-vit-base-patch32",
        "model_max_length": 77,
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
    }
    _write_json(folder / "tokenizer_config.json", tokenizer_config)


def _write_openai_preprocessor(folder: Path) -> None:
    preprocessor = {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 224,
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)


def _generation_fields(**token_ids: int | None) -> dict[str, Any]:
    """What transformers 4.16 wrote into every part of a configuration."""
    return {
        "_name_or_path": "",
        "add_cross_attention": False,
        "architectures": None,
        "bad_words_ids": None,
        **token_ids,
        "chunk_size_feed_forward": 0,
        "cross_attention_hidden_size": None,
        "decoder_start_token_id": None,
        "diversity_penalty": 0.0,
        "do_sample": False,
        "early_stopping": False,
        "encoder_no_repeat_ngram_size": 0,
        "finetuning_task": None,
        "forced_bos_token_id": None,
        "forced_eos_token_id": None,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
        "is_decoder": False,
        "is_encoder_decoder": False,
        "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        "length_penalty": 1.0,
        "max_length": 20,
        "min_length": 0,
        "no_repeat_ngram_size": 0,
        "num_beam_groups": 1,
        "num_beams": 1,
        "num_return_sequences": 1,
        "output_attentions": False,
        "output_hidden_states": False,
        "output_scores": False,
        "prefix": None,
        "problem_type": None,
        "pruned_heads": {},
        "remove_invalid_values": False,
        "repetition_penalty": 1.0,
        "return_dict": True,
        "return_dict_in_generate": False,
        "sep_token_id": None,
        "task_specific_params": None,
        "temperature": 1.0,
        "tie_encoder_decoder": False,
        "tie_word_embeddings": True,
        "tokenizer_class": None,
        "top_k": 50,
        "top_p": 1.0,
        "torch_dtype": None,
        "torchscript": False,
        "transformers_version": "4.16.0.dev0",
        "use_bfloat16": False,
    }


@torch.no_grad()
def _lively(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Fill a model with weights under which everything in the input matters, at OpenAI's temperature of 100."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("logit_scale"):
            parameter.fill_(4.6052)
        elif name.endswith("logit_bias"):
            parameter.fill_(-12.9)
        elif "norm" in name:
            parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * noise)
        elif "embedding" in name and "patch" not in name:
            parameter.copy_(0.5 * noise)
        elif parameter.dim() > 1:
            parameter.copy_(noise * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.1 * noise)
    return model


def _save(model: PreTrainedModel, folder: Path) -> None:
    """The weights alone: the configuration stays as the Hub's is written."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _folder(folder: str | Path) -> Path:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
