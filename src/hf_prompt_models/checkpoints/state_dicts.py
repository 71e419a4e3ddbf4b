"""Read the named tensors of a file of weights, in any format that PyTorch or safetensors writes."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hf_prompt_models.checkpoints.legacy_checkpoints import is_legacy_checkpoint, read_legacy_checkpoint
from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.checkpoints.torchscript_archives import is_torchscript_archive, read_torchscript_archive
from hf_prompt_models.utils.describing import describe_value


WRAPPER = "state_dict"
"""Entry of a training checkpoint with the weights, next to the epoch, the optimizer, …."""
PARALLEL = "module."
"""Prefix of all names of a model that was trained in parallel."""


def read_state_dict(path: str | os.PathLike) -> dict[str, torch.Tensor | int]:
    """Return the tensors of a file by name, without executing code from it.

    Args:
        path: a file of safetensors, of `torch.save` (a state dict, or a training checkpoint with a `state_dict`), or
            of `torch.jit.save`.

    Returns:
        Tensors on the CPU, and whole numbers that are stored next to them. Names are without the prefix `module.`.

    Raises:
        OSError: if there is no such file.
        ValueError: if it has another format, is damaged, or holds anything else.
    """
    path = Path(path)
    content = _read(path)
    state_dict = content.get(WRAPPER, content) if isinstance(content, dict) else content
    if not isinstance(state_dict, dict) or not state_dict:
        raise ValueError(f"{path} contains no state dict, but {_describe(content)}.")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not (isinstance(value, torch.Tensor) or type(value) is int):
            raise ValueError(f"{path} contains no state dict: the entry {str(name)[:100]!r} is {_describe(value)}.")
    in_parallel = all(name.startswith(PARALLEL) for name in state_dict)
    return {name.removeprefix(PARALLEL) if in_parallel else name: value for name, value in state_dict.items()}


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or incomplete: {error}.") from error
    if is_torchscript_archive(path):
        return read_torchscript_archive(path)
    return read_legacy_checkpoint(path) if is_legacy_checkpoint(path) else read_torch_checkpoint(path)


def _describe(value: Any) -> str:
    if not isinstance(value, dict):
        return describe_value(value)
    return f"a dict of {', '.join(map(str, list(value)[:5]))}"[:200] if value else "an empty dict"
