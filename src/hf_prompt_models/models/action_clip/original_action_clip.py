"""Names and shapes of tensors in checkpoints of the original ActionCLIP code and of mmaction2's port.

The original code saves a dict with `model_state_dict`, a CLIP with OpenAI's names, and `fusion_model_state_dict`, the
head (`utils/saving.py`, `modules/Visual_Prompt.py`). mmaction2 saves a `state_dict` whose names start with `clip.` and
`adapter.` (`projects/actionclip`). In this module the tensors of both have the names of mmaction2.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hf_prompt_models.backbones import openai_names
from hf_prompt_models.backbones.openai_names import Source
from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint


ENTRIES = {"clip": "model_state_dict", "adapter": "fusion_model_state_dict"}
DEFAULT_NUM_FRAMES = 8
TEXT_WIDTH_PER_HEAD = 64
TRANSF_CLS_HEADS = 8
MAX_HEAD_LAYERS = 100

WHOLE_NAMES = {
    "pre_network.time_embedding": "clip.visual.time_embedding",
    "post_network.frame_position_embeddings.weight": "adapter.frame_position_embeddings.weight",
    "post_network.conv.weight": "adapter.shift.weight",
    "post_network.cls_token": "adapter.transformer.cls_token",
    "post_network.pos_embed": "adapter.transformer.pos_embed",
}
CLIP = "clip."
HEAD_LAYERS, LSTM = "post_network.encoder.layers.", "post_network.lstm."
VISION_BLOCKS = "clip.visual.transformer.resblocks."


@dataclass(frozen=True)
class OriginalCheckpoint:
    """Content of a checkpoint of the original code or of mmaction2.

    Args:
        file: path of the file.
        is_mmaction2: whether the layout is that of mmaction2.
        epoch: epoch of the training; `None` if it is not in the file.
        tensors: tensors by their names in mmaction2, without the prefix `module.` of parallel models.
        left_out: names of the other entries in the file.
    """

    file: Path
    is_mmaction2: bool
    epoch: int | None
    tensors: dict[str, torch.Tensor]
    left_out: list[str]

    @property
    def code(self) -> str:
        """Name of the code whose layout the file has."""
        return "mmaction2" if self.is_mmaction2 else "the original code"

    def entry(self, part: str) -> str:
        """Return the name in the file of the part `"clip"` or `"adapter"`."""
        return part if self.is_mmaction2 else ENTRIES[part]

    def shown(self, name: str) -> str:
        """Return the name of a tensor in the file, for messages."""
        part, _, rest = name.partition(".")
        return repr(name) if self.is_mmaction2 else f"{rest!r} of {ENTRIES[part]}"

    def size(self, name: str, dim: int) -> int | None:
        """Return the size of a tensor along `dim`, or `None` if there is no such tensor or dimension."""
        shape = self.tensors[name].shape if name in self.tensors else ()
        return shape[dim] if -len(shape) <= dim < len(shape) else None

    def count_layers(self, prefix: str) -> int:
        """Return the number of different layer numbers that follow a prefix in the tensor names."""
        names = (name.removeprefix(prefix) for name in self.tensors if name.startswith(prefix))
        return len({name.partition(".")[0] for name in names})


def read_original_checkpoint(file: str | os.PathLike) -> OriginalCheckpoint:
    """Read a checkpoint file, without executing code from it.

    Args:
        file: path of the file.

    Raises:
        OSError: as `read_torch_checkpoint` does.
        ValueError: as `read_torch_checkpoint` does, or if the file is neither of the original code nor of mmaction2.
    """
    content = read_torch_checkpoint(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} contains a {type(content).__name__}, so it is not a checkpoint of ActionCLIP.")
    entries = [name for name in content if isinstance(name, str)]
    tensors: dict[str, torch.Tensor] = {}
    if any(entry in content for entry in ENTRIES.values()):
        for part, entry in ENTRIES.items():
            if entry not in content:
                raise ValueError(f"{file} has no {entry}, but {', '.join(entries)[:300]}.")
            found = _read_tensors(content[entry], entry, file)
            tensors |= {f"{part}.{name}": tensor for name, tensor in found.items()}
        used, epoch = {*ENTRIES.values(), "epoch"}, content.get("epoch")
        is_mmaction2 = False
    else:
        # A file may also be the state_dict itself, as in the loader of mmengine.
        state_dict = content.get("state_dict", content)
        if not isinstance(state_dict, dict) or not any(
            isinstance(name, str) and re.match(r"(module\.)?clip\.visual\.", name) for name in state_dict
        ):
            raise ValueError(
                f"{file} is not a checkpoint of ActionCLIP: it has neither {' and '.join(ENTRIES.values())}, "
                "as in the original code, nor a state_dict with names that start with 'clip.visual.', as in "
                f"mmaction2. It has {', '.join(entries)[:300] or 'nothing'}."
            )
        tensors = _read_tensors(state_dict, "state_dict", file)
        used = {"state_dict"} if "state_dict" in content else set(entries)
        meta = content.get("meta")
        epoch = meta.get("epoch") if isinstance(meta, dict) else None
        is_mmaction2 = True
    return OriginalCheckpoint(
        file=Path(file),
        is_mmaction2=is_mmaction2,
        epoch=epoch if type(epoch) is int else None,
        tensors=tensors,
        left_out=[name for name in entries if name not in used],
    )


def _read_tensors(state_dict: Any, entry: str, file: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Return the tensors by name, without the prefix `module.`, which all names of a parallel model have."""
    if not isinstance(state_dict, dict) or not all(isinstance(name, str) for name in state_dict):
        raise ValueError(f"{entry} in {file} is not a dict of named tensors.")
    for name, tensor in state_dict.items():
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise ValueError(f"{name[:100]!r} of {entry} in {file} is not a tensor of floating-point numbers.")
    in_parallel = all(name.startswith("module.") for name in state_dict)
    return {name.removeprefix("module.") if in_parallel else name: tensor for name, tensor in state_dict.items()}


def infer_visual_prompts(read: OriginalCheckpoint, num_frames: int | None = None) -> dict[str, Any]:
    """Infer fields of the `ActionClipConfig` from the names and shapes of the tensors.

    Args:
        read: the checkpoint.
        num_frames: number of frames to sample, if the head leaves a choice. Default: inferred from the checkpoint,
            else 8.

    Raises:
        ValueError: if the visual prompts cannot be combined, or the head does not accept this number of frames.
    """
    names = read.tensors
    choices: dict[str, Any] = {"post_network": _infer_head(read)}
    if any(re.match(r"clip\.visual\.transformer\.resblocks\.\d+\.net\.", name) for name in names):
        choices["in_network"] = "shift"
    if "clip.visual.time_embedding" in names:
        choices["pre_network"] = "joint"
        if choices["post_network"] != "mean" or "in_network" in choices:
            raise ValueError(
                f"{read.file} has {read.shown('clip.visual.time_embedding')}, which combines all frames into one "
                "vector, together with a head over frames or a shift between frames. These exclude each other."
            )
    text_width = read.size("clip.ln_final.weight", 0) or 0
    match choices["post_network"]:
        case "conv1d":
            choices["legacy_conv1d_layout"] = True
        case "transf":
            choices["head_num_layers"] = _count_head_layers(read, "adapter.transformer.resblocks.")
            choices["head_num_attention_heads"] = max(text_width // TEXT_WIDTH_PER_HEAD, 1)
            choices["head_layer_norm_eps"] = 1e-5 if read.is_mmaction2 else 1e-12
            if rows := read.size("adapter.frame_position_embeddings.weight", 0):
                choices["max_frames"] = rows
        case "transf_cls":
            choices["head_num_layers"] = _count_head_layers(read, "adapter.transformer.transformer_enc.layers.")
            choices["head_num_attention_heads"] = TRANSF_CLS_HEADS
    choices["num_frames"] = _infer_num_frames(read, choices, num_frames)
    return choices


def _infer_head(read: OriginalCheckpoint) -> str:
    names = read.tensors
    if read.is_mmaction2:
        return "transf"
    if "adapter.shift.weight" in names:
        return "conv1d"
    if any(name.startswith("adapter.lstm_visual.") for name in names):
        return "lstm"
    if any(name.startswith("adapter.transformer.resblocks.") for name in names):
        return "transf"
    return "transf_cls" if any(name.startswith("adapter.transformer.") for name in names) else "mean"


def _count_head_layers(read: OriginalCheckpoint, prefix: str) -> int:
    layers = read.count_layers(prefix)
    if layers > MAX_HEAD_LAYERS:
        raise ValueError(f"The head in {read.file} has {layers} layers, but the limit is {MAX_HEAD_LAYERS}.")
    return max(layers, 1)  # if there are none, the tensors of one layer are reported as missing


def _infer_num_frames(read: OriginalCheckpoint, choices: dict[str, Any], num_frames: int | None) -> int:
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"Expected --num_frames to be at least 1, got {num_frames}.")
    exact = None
    if choices["post_network"] == "transf_cls":
        name = "adapter.transformer.pos_embed"
        exact = (read.size(name, 1) or 0) - 1  # one position belongs to the class token
    elif "pre_network" in choices:
        name = "clip.visual.time_embedding"
        exact = read.size(name, 0) or 0
    if exact is not None and exact > 0:
        if num_frames not in (None, exact):
            raise ValueError(
                f"{read.shown(name)} in {read.file} is for {exact} frames, not for {num_frames}. Remove --num_frames."
            )
        return exact
    most = choices.get("max_frames")
    if most is not None and num_frames is not None and num_frames > most:
        raise ValueError(
            f"{read.shown('adapter.frame_position_embeddings.weight')} in {read.file} is for at most {most} "
            f"frames, but --num_frames is {num_frames}. Pass a smaller number."
        )
    if num_frames is not None:
        return num_frames
    if most is None:
        return DEFAULT_NUM_FRAMES
    return most if read.is_mmaction2 else min(DEFAULT_NUM_FRAMES, most)


def find_source(name: str, choices: dict[str, Any]) -> Source:
    """Return the place of a parameter in checkpoints with these visual prompts.

    Args:
        name: name of our parameter.
        choices: the visual prompts, as `infer_visual_prompts` returns them.
    """
    if name in WHOLE_NAMES:
        return Source(WHOLE_NAMES[name])
    if name.startswith(CLIP):
        source = openai_names.find_source(name.removeprefix(CLIP))
        place = CLIP + source.name
        if choices.get("in_network") and place.startswith(VISION_BLOCKS):  # the shift wraps each block
            layer, _, rest = place.removeprefix(VISION_BLOCKS).partition(".")
            place = f"{VISION_BLOCKS}{layer}.net.{rest}"
        return replace(source, name=place)
    if choices["post_network"] == "transf_cls":
        return Source(name.replace("post_network.encoder.", "adapter.transformer.transformer_enc."))
    if name.startswith(LSTM):
        return Source(f"adapter.lstm_visual.{name.removeprefix(LSTM)}")
    return openai_names.find_block_source(name.removeprefix(HEAD_LAYERS), "adapter.transformer.resblocks.")
