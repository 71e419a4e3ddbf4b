"""Configurations of open_clip (`open_clip_config.json`) in the terms of transformers, where it has the model.

A model is described by `model_cfg`, and its images by `preprocess_cfg`. open_clip's own fields and defaults are in its
`model.py` and `transform.py`. A field that changes the computation in a way that transformers' models do not have is
refused by name, as are the families of models whose towers transformers lacks.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipImageProcessorPil,
)
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, PILImageResampling

from hf_prompt_models.backbones.clip_resnet import ClipResNetConfig, ClipResNetModel
from hf_prompt_models.backbones.image_processing_open_clip import OpenClipImageProcessor
from hf_prompt_models.utils.describing import describe_value
from hf_prompt_models.utils.files import read_json


CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
"""Names of files of weights, in the order in which open_clip looks for them."""
MAX_CONFIG_BYTES = 2**20
MAX_SIZE = 2**24
"""Maximum value of a size, such as a width or a vocabulary."""

HEAD_WIDTH, MLP_RATIO, LAYER_NORM_EPS = 64, 4.0, 1e-5
ARGMAX_EOS_TOKEN_ID = 2
"""`eos_token_id` with which transformers reads CLIP's text tower at the largest token id, as OpenAI's code does."""

TIMM_FAMILIES = {
    "convnext": "ConvNeXt",
    "eva": "EVA",
    "fastvit_mci": "MobileCLIP",
    "naflexvit": "NaFlex",
    "swin": "Swin",
    "vit_base_mci": "MobileCLIP",
    "vit_pe_core": "PE-Core",
    "vitamin": "ViTamin",
}
"""Families of image towers by the beginnings of their names in timm."""

BLOCK_OPTIONS: dict[str, Any] = {
    "act_kwargs": {},
    "block_type": "default",
    "ls_init_value": None,
    "final_ln_after_pool": False,
    **dict.fromkeys(
        ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"), False
    ),
}
SUPPORTED: dict[str, dict[str, Any]] = {
    "model_cfg": {"init_logit_bias": None, "multimodal_cfg": None},
    "vision_cfg": {
        **BLOCK_OPTIONS,
        "attentional_pool": False,
        "no_ln_pre": False,
        "pool_type": "tok",
        "timm_model_name": None,
    },
    "text_cfg": {
        **BLOCK_OPTIONS,
        "embed_cls": False,
        "hf_model_name": None,
        "no_causal_mask": False,
        "proj_bias": False,
        "proj_type": "linear",
    },
}
"""Fields that change the computation, with the only value that transformers' models compute. `None` is the default."""
READ = {
    "model_cfg": {"embed_dim", "quick_gelu", "text_cfg", "vision_cfg"},
    "vision_cfg": {"head_width", "image_size", "layers", "mlp_ratio", "norm_kwargs", "patch_size", "width"},
    "text_cfg": {
        *("context_length", "eos_id", "heads", "layers", "mlp_ratio", "norm_kwargs", "pool_type", "vocab_size"),
        "width",
    },
}
UNREAD = {
    "model_cfg": {"cast_dtype", "custom_text", "init_logit_scale", "nonscalar_logit_scale", "output_dict"},
    "vision_cfg": {"attn_pooler_heads", "attn_pooler_queries", "output_tokens", "patch_dropout", "pos_embed_type"},
    "text_cfg": {"hf_tokenizer_name", "output_tokens", "pad_id", "tokenizer_kwargs", "tokenizer_mode"},
}
"""Fields that do not change what the trained model computes. So are those of towers that the model does not have."""

INTERPOLATIONS = {
    "bicubic": PILImageResampling.BICUBIC,
    "bilinear": PILImageResampling.BILINEAR,
    "random": PILImageResampling.BICUBIC,  # random in training alone
}
PREPROCESS_FIELDS = {"fill_color", "interpolation", "mean", "mode", "resize_mode", "size", "std"}


class OpenClipConfig(NamedTuple):
    """A model of open_clip in the terms of transformers.

    Attributes:
        model_class: class of the model.
        config: its configuration.
        image_processor: its image processor.
    """

    model_class: type[PreTrainedModel]
    config: PreTrainedConfig
    image_processor: PilBackend


def read_open_clip_config(file: str | os.PathLike, activation: str | None = None) -> OpenClipConfig:
    """Read an `open_clip_config.json`.

    Args:
        file: the file.
        activation: "gelu" or "quick_gelu", if the file is wrong about it. Default: what the file says.

    Raises:
        OSError: if there is no such file.
        ValueError: if it describes no model that transformers has. The message names the file and the reason.
    """
    content = read_json(file, MAX_CONFIG_BYTES, "configurations")
    match content:
        case {"model_cfg": {"vision_cfg": dict(), "text_cfg": dict()} as model}:
            pass
        case _:
            raise ValueError(f"{file} has no model_cfg with a vision_cfg and a text_cfg, as those of open_clip have.")
    try:
        _refuse_families(model)
        for part in SUPPORTED:
            _check_fields(part, model if part == "model_cfg" else model[part])
        model_class, config = _translate(model, activation)
        image_processor = make_image_processor(content.get("preprocess_cfg") or {}, config.vision_config.image_size)
    except (ValueError, StrictDataclassError) as error:
        raise ValueError(f"{file}: {error}") from error
    return OpenClipConfig(model_class, config, image_processor)


def make_image_processor(preprocess: Any, image_size: int) -> PilBackend:
    """Return the image processor for a `preprocess_cfg`.

    Args:
        preprocess: the `preprocess_cfg`; missing fields have OpenAI's values.
        image_size: side of the images in pixels. `size` is not read, because open_clip takes that of the model.

    Raises:
        ValueError: if a value is not supported. The message names the field.
    """
    if not isinstance(preprocess, dict) or not preprocess.keys() <= PREPROCESS_FIELDS:
        unknown = describe_value(list(preprocess) if isinstance(preprocess, dict) else preprocess)
        raise ValueError(f"Expected a preprocess_cfg of {', '.join(sorted(PREPROCESS_FIELDS))}, got {unknown}.")
    given = {name: value for name, value in preprocess.items() if value is not None}
    if given.get("mode", "RGB") != "RGB":
        raise ValueError(f"Expected the mode 'RGB' in preprocess_cfg, got {describe_value(given['mode'])}.")
    interpolation = given.get("interpolation", "bicubic")
    if interpolation not in INTERPOLATIONS:
        expected = ", ".join(INTERPOLATIONS)
        raise ValueError(f"Expected an interpolation of {expected}, got {describe_value(interpolation)}.")
    settings = {
        "resample": INTERPOLATIONS[interpolation],
        "image_mean": _channels("mean", given.get("mean", OPENAI_CLIP_MEAN)),
        "image_std": _channels("std", given.get("std", OPENAI_CLIP_STD)),
    }
    square = {"height": image_size, "width": image_size}
    match given.get("resize_mode", "shortest"), given.get("fill_color", 0):
        case "shortest", _:
            return CLIPImageProcessorPil(size={"shortest_edge": image_size}, crop_size=square, **settings)
        case "squash", _:
            return SiglipImageProcessorPil(size=square, **settings)
        case "longest", int(fill_color) if 0 <= fill_color <= 255:
            return OpenClipImageProcessor(size=square, fill_color=fill_color, **settings)
        case mode, fill_color:
            raise ValueError(
                "Expected a resize_mode of 'shortest', 'longest' or 'squash', and a fill_color from 0 to 255, got "
                f"{describe_value(mode)} and {describe_value(fill_color)}."
            )


def _channels(name: str, value: Any) -> list[float]:
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    are_numbers = len(values) == 3 and all(isinstance(each, int | float) for each in values)
    if not are_numbers or (name == "std" and 0 in values):
        raise ValueError(f"Expected one or three numbers for {name} in preprocess_cfg, got {describe_value(value)}.")
    return [float(each) for each in values]


# -- what is refused -------------------------------------------------------------------------------------------------


def _refuse_families(model: Mapping[str, Any]) -> None:
    vision, text = model["vision_cfg"], model["text_cfg"]
    timm_name, text_name = vision.get("timm_model_name"), text.get("hf_model_name")
    if model.get("multimodal_cfg") is not None or text.get("embed_cls"):
        family = "of the family CoCa, whose text tower also generates captions"
    elif timm_name:
        shown = describe_value(timm_name)
        names = [name for start, name in TIMM_FAMILIES.items() if str(timm_name).startswith(start)]
        names += ["SigLIP"] if "siglip" in str(timm_name) else []
        family = f"of the family {names[0]}, with timm's {shown}" if names else f"a CLIP with timm's {shown}"
    elif text_name:
        family = f"a CLIP with transformers' {describe_value(text_name)} as its text tower"
    elif vision.get("no_ln_pre") and text.get("no_causal_mask"):
        family = "of the family CLIPA, whose towers have other norms, poolings and masks"
    else:
        return
    hint = " Load Google's own checkpoint, such as google/siglip-base-patch16-224." if "SigLIP" in family else ""
    raise ValueError(
        f"This model is {family}. Only the vision transformers and the ResNets with the text tower of CLIP can be "
        f"converted.{hint}"
    )


def _check_fields(part: str, fields: Mapping[str, Any]) -> None:
    """Refuse fields that are unknown, and those whose value changes the computation."""
    for name, value in fields.items():
        if name in SUPPORTED[part]:
            expected = SUPPORTED[part][name]
            if value is not None and value != expected:
                raise ValueError(
                    f"{name} of {part} is {describe_value(value)}, which no model of transformers computes. Only "
                    f"{expected!r} can be converted."
                )
        elif name not in READ[part] | UNREAD[part] and not name.startswith(("timm_", "hf_")):
            raise ValueError(f"{name} of {part} is not a field of open_clip 3.3, so its effect is not known.")


# -- translation -----------------------------------------------------------------------------------------------------


def _translate(model: Mapping[str, Any], activation: str | None) -> tuple[type[PreTrainedModel], PreTrainedConfig]:
    vision, text = model["vision_cfg"], model["text_cfg"]
    quick = model.get("quick_gelu")
    if not isinstance(quick, bool | None):
        raise ValueError(f"Expected true or false for quick_gelu, got {describe_value(quick)}.")
    activation = activation or ("quick_gelu" if quick else "gelu")
    projection_dim = _size(model, "embed_dim")
    is_resnet = isinstance(vision.get("layers"), list | tuple)
    match text.get("pool_type"):
        case None | "argmax":
            eos_token_id, is_metaclip = ARGMAX_EOS_TOKEN_ID, False
        case "eos" if not is_resnet:
            eos_token_id, is_metaclip = _size(text, "eos_id", 2), True
        case other:
            raise ValueError(
                f"pool_type of text_cfg is {describe_value(other)}. Only text towers that are read at the end token "
                "('argmax', or 'eos' next to a vision transformer) can be converted."
            )
    text_config = {
        "projection_dim": projection_dim,
        "hidden_act": activation,
        "vocab_size": _size(text, "vocab_size", 49408),
        **_transformer(text, 512, _size(text, "heads", 8)),
        "max_position_embeddings": _size(text, "context_length", 77),
        **special_tokens(eos_token_id),
    }
    if is_resnet:
        resnet_config = {
            "layers": [_size({"layers": each}, "layers") for each in vision["layers"]],
            "width": _size(vision, "width", 768),
            "head_width": _size(vision, "head_width", HEAD_WIDTH),
            "image_size": _side(vision, "image_size", 224),
            "output_dim": projection_dim,
        }
        return ClipResNetModel, ClipResNetConfig(text_config=text_config, vision_config=resnet_config)
    vision_config = {
        "projection_dim": projection_dim,
        "hidden_act": activation,
        **_transformer(vision, 768, _size(vision, "width", 768) // _size(vision, "head_width", HEAD_WIDTH)),
        "image_size": _side(vision, "image_size", 224),
        "patch_size": _side(vision, "patch_size", 16),
    }
    model_class, config_class = (MetaClip2Model, MetaClip2Config) if is_metaclip else (CLIPModel, CLIPConfig)
    config = config_class(projection_dim=projection_dim, text_config=text_config, vision_config=vision_config)
    return model_class, config


def _transformer(fields: Mapping[str, Any], default_width: int, heads: int) -> dict[str, Any]:
    width = _size(fields, "width", default_width)
    if not heads or width % heads:
        raise ValueError(f"A width of {width} is not divisible into {heads} attention heads.")
    return {
        "hidden_size": width,
        "intermediate_size": _mlp_width(fields, width),
        "num_hidden_layers": _size(fields, "layers", 12),
        "num_attention_heads": heads,
        "layer_norm_eps": _layer_norm_eps(fields),
    }


def special_tokens(eos_token_id: int = ARGMAX_EOS_TOKEN_ID) -> dict[str, int]:
    """Return the special tokens of a text configuration, of which only the end token has an effect.

    Args:
        eos_token_id: id of the end token, at which the text tower is read. Default: it is read at the largest id.
    """
    return {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": eos_token_id}


def _size(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = default if fields.get(name) is None else fields[name]
    if type(value) is not int or not 0 < value <= MAX_SIZE:
        raise ValueError(f"Expected a whole number from 1 to {MAX_SIZE} for {name}, got {describe_value(value)}.")
    return value


def _side(fields: Mapping[str, Any], name: str, default: int) -> int:
    match fields.get(name):
        case [int(height), int(width)] if height == width:
            return _size({name: height}, name)
        case [_, _] as sides:
            raise ValueError(f"Expected one number for both sides of {name}, got {describe_value(sides)}.")
    return _size(fields, name, default)


def _mlp_width(fields: Mapping[str, Any], width: int) -> int:
    ratio = MLP_RATIO if fields.get("mlp_ratio") is None else fields["mlp_ratio"]
    if not isinstance(ratio, int | float) or not 0 < ratio < MAX_SIZE:
        raise ValueError(f"Expected a positive number for mlp_ratio, got {describe_value(ratio)}.")
    return _size({"mlp_ratio": int(width * ratio)}, "mlp_ratio")


def _layer_norm_eps(fields: Mapping[str, Any]) -> float:
    match fields.get("norm_kwargs") or {"eps": LAYER_NORM_EPS}:
        case {"eps": int() | float() as eps, **others} if not others:
            return float(eps)
        case other:
            raise ValueError(f"Expected only eps, a number, in norm_kwargs, got {describe_value(other)}.")
