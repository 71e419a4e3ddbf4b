"""A ViT's weights as a TimeSformer's: where ALPRO's video tower begins (paper, 4.1)."""

import os
import re
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedConfig, ViTConfig
from transformers.utils import SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from hf_prompt_models.models.alpro.configuration_alpro import AlproVisionConfig


SIZES = (
    "image_size",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "qkv_bias",
)
TEMPORAL = {".attention.": ".temporal_attention.", ".layernorm_before.": ".temporal_layernorm."}
"""What the attention between frames begins as a copy of."""


def read_vit(
    name_or_path: str | os.PathLike, num_frames: int, **kwargs: Any
) -> tuple[AlproVisionConfig, dict[str, torch.Tensor]]:
    """The configuration and the weights of a video tower that reads each frame as a ViT does.

    The attention between frames begins as a copy of the ViT's. What leads out of it, and the time embeddings, are left
    out: they begin at zero.

    Args:
        name_or_path: Hub id or folder of a ViT of transformers.
        num_frames: frames of a video.
        kwargs: `revision`, `token`, `cache_dir`, …

    Raises:
        OSError: if there is no such ViT, or it is damaged.
        TypeError: if it is something else.
    """
    found, _ = PreTrainedConfig.get_config_dict(name_or_path, **kwargs)
    if found.get("model_type") != ViTConfig.model_type:
        raise TypeError(
            f"{str(name_or_path)!r} is of type {found.get('model_type')!r}; ALPRO's video tower begins as a ViT, such "
            "as google/vit-base-patch16-224-in21k."
        )
    config = ViTConfig.from_dict(found)
    file = cached_file(name_or_path, SAFE_WEIGHTS_NAME, **kwargs)
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise OSError(f"{file} is damaged ({error}): copy or save it again.") from error
    vision = AlproVisionConfig(num_frames=num_frames, **{name: getattr(config, name) for name in SIZES})
    return vision, _as_timesformer({name.removeprefix("vit."): tensor for name, tensor in tensors.items()})


def _as_timesformer(vit: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By the names in which checkpoints of ViTs are kept, which are a TimeSformer's but for the attention's."""
    tensors = {}
    for name, tensor in vit.items():
        if name.startswith(("pooler.", "classifier.", "decoder.")) or name.endswith("mask_token"):
            continue
        if ".attention.attention." in name:
            layer = re.sub(r"(query|key|value)\.(weight|bias)$", "", name)
            kind = name.rpartition(".")[2]
            tensor = torch.cat([vit[f"{layer}{part}.{kind}"] for part in ("query", "key", "value")])
            name = f"{layer}qkv.{kind}"
        tensors[name] = tensor
        for spatial, temporal in TEMPORAL.items():
            if spatial in name:
                tensors[name.replace(spatial, temporal, 1)] = tensor.clone()
    return tensors
