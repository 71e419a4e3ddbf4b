"""How the original ALPRO code, and LAVIS's copy of it, name their tensors (`src/modeling/alpro_models.py`).

A checkpoint is a dict of tensors, in LAVIS's files under `model`. The text encoder's names have a `bert.` in them
where it is a masked language model: in pre-training, its prompter and retrieval, but not in question answering nor in
LAVIS.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint


WRAPPER = "model"
MAX_LAYERS = 100
HEAD_WIDTH = 64
"""Channels of an attention head, of which no tensor tells."""

VIDEO, TEXT = "visual_encoder.model.", "text_encoder."
PROMPTER = "prompter."
PROMPTS = {"video_prompts": "video_prompt_feat", "image_prompts": "image_prompt_feat"}
VIDEO_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.time_embeddings": "time_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
BLOCK_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "temporal_layernorm": "temporal_norm1",
    "temporal_dense": "temporal_fc",
    "temporal_attention.attention.qkv": "temporal_attn.qkv",
    "temporal_attention.output.dense": "temporal_attn.proj",
    "attention.attention.qkv": "attn.qkv",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
HEAD_NAMES = {
    "video_projection": "vision_proj",
    "text_projection": "text_proj",
    "temperature": "temp",
    "vtm_head": "itm_head",
    "pem_head": "mpm_head",
    "mlm_head": "text_encoder.cls",
    "classifier": "classifier",
}


@dataclass(frozen=True)
class OriginalCheckpoint:
    """
    Args:
        file: where it was read.
        tensors: by the file's names, but for `bert.` and, of a model in parallel, `module.`.
        left_out: the file's other entries.
    """

    file: Path
    tensors: dict[str, torch.Tensor]
    left_out: list[str]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape.

        Raises:
            ValueError: if it is not there.
        """
        if name not in self.tensors:
            raise ValueError(f"{self.file} is no checkpoint of ALPRO: it has no {name!r}.")
        return tuple(self.tensors[name].shape)

    def has(self, prefix: str) -> bool:
        """Whether a tensor's name begins so."""
        return any(name.startswith(prefix) for name in self.tensors)

    def count_layers(self, prefix: str) -> int:
        """How many layers, numbered from 0, stand behind a prefix.

        Raises:
            ValueError: if there are none, too many, or numbers are left out.
        """
        names = (name.removeprefix(prefix) for name in self.tensors if name.startswith(prefix))
        numbers = {name.partition(".")[0] for name in names}
        if not 0 < len(numbers) <= MAX_LAYERS or numbers != set(map(str, range(len(numbers)))):
            raise ValueError(
                f"{self.file} is no checkpoint of ALPRO: behind {prefix!r} it has the layers "
                f"{', '.join(sorted(numbers))[:100] or 'none'}, not 0, 1, 2, …."
            )
        return len(numbers)


def read_original_checkpoint(file: str | os.PathLike) -> OriginalCheckpoint:
    """Read one file, without running anything in it.

    Raises:
        OSError, ValueError: as `read_torch_checkpoint` does, or if it holds no named tensors.
    """
    content = read_torch_checkpoint(file)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{file} is no checkpoint of ALPRO: it is no dict of named tensors.")
    wrapped = isinstance(content.get(WRAPPER), dict)
    state_dict: dict[Any, Any] = content[WRAPPER] if wrapped else content
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{str(name)[:100]!r} in {file} is not a named tensor.")
    in_parallel = all(name.startswith("module.") for name in state_dict)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        short = name.removeprefix("module.") if in_parallel else name
        tensors[re.sub(r"(^|\.)text_encoder\.bert\.", r"\1text_encoder.", short)] = tensor
    if len(tensors) < len(state_dict):
        raise ValueError(f"{file} has tensors of the text encoder twice, with 'bert.' and without.")
    return OriginalCheckpoint(Path(file), tensors, [name for name in content if name != WRAPPER] if wrapped else [])


def original_name(name: str) -> str:
    """What the original calls a tensor of this package's models (without `bert.`)."""
    if name.startswith(PROMPTER):
        return PROMPTER + original_name(name.removeprefix(PROMPTER))
    if name in PROMPTS:
        return PROMPTS[name]
    name = name.removeprefix("alpro.")
    if name.startswith("video_model."):
        return VIDEO + _video_name(name.removeprefix("video_model."))
    if name.startswith("text_model."):
        return TEXT + name.removeprefix("text_model.")
    head, _, rest = name.partition(".")
    return ".".join(filter(None, (HEAD_NAMES[head], rest)))


def _video_name(name: str) -> str:
    if block := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name):
        return f"blocks.{block[1]}.{BLOCK_NAMES[block[2]]}.{block[3]}"
    if name in VIDEO_NAMES:
        return VIDEO_NAMES[name]
    part, _, kind = name.rpartition(".")
    return f"{VIDEO_NAMES[part]}.{kind}"
