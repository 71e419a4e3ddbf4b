"""Low-rank updates of the language model (LoRA, arXiv 2106.09685), by peft, which is an optional extra.

What is trained beside them (projection, vision backbone) is kept by peft while training goes on, so that the Trainer's
checkpoints are whole; the finished model is a checkpoint like others, with peft's files of the language model in it.
"""

import copy
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import is_peft_available

from hf_prompt_models.data.files import replacing, write_text


CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX, MODEL_PREFIX = "base_model.model.", "base_model.model.language_model."


def _peft() -> Any:
    if not is_peft_available():
        raise ImportError("LoRA needs peft: pip install 'hf_prompt_models[peft]'.")
    import peft  # an extra

    return peft


def linear_layers(language_model: PreTrainedModel) -> list[str]:
    """The names of a language model's linear layers, but for the one that makes logits."""
    last = language_model.get_output_embeddings()
    return [
        name
        for name, module in language_model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not last
    ]


def add_lora(model: Any, rank: int, alpha: float | None, dropout: float, targets: Iterable[str] | None = None) -> Any:
    """A model whose language model is trained by low-rank updates alone, and whose other parts as before.

    Args:
        model: of a method over a language model, which is frozen.
        rank, alpha, dropout: of the updates; they are scaled by alpha / rank, by default 2.
        targets: the ends of the names of the language model's layers. Default: `linear_layers`.

    Returns:
        A `PeftModel`.

    Raises:
        ImportError: if peft is not installed.
        ValueError: if no layer has such a name.
    """
    peft = _peft()
    names = linear_layers(model.language_model)
    if targets is not None:
        ends = tuple(targets)
        chosen = [name for name in names if any(f".{name}".endswith(f".{end}") for end in ends)]
        if not chosen:
            raise ValueError(f"No linear layer of the language model ends in {' or '.join(ends)}; it has {names[:8]}.")
        names = chosen
    own = [
        name
        for name, part in model.named_children()
        if name != model.backbone_name and any(parameter.requires_grad for parameter in part.parameters())
    ]
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.language_model.modules()),  # as GPT-2's
        target_modules=[f"{model.backbone_name}.{name}" for name in names],
        modules_to_save=own,
    )
    return peft.get_peft_model(model, config)


def save_with_lora(adapted: Any, directory: str | os.PathLike) -> None:
    """Write a model of `add_lora`: a checkpoint without the language model, and the updates in peft's files.

    The updates are those of the language model by itself. The model is unloaded: it has no updates afterwards.

    Args:
        adapted: the `PeftModel`.
        directory: where to; of both.
    """
    peft, directory = _peft(), Path(directory)
    updates = {
        PREFIX + name.removeprefix(MODEL_PREFIX): tensor.contiguous()
        for name, tensor in peft.get_peft_model_state_dict(adapted).items()
        if ".lora_" in name
    }
    config = copy.copy(adapted.peft_config["default"])
    model = adapted.unload()
    config.base_model_name_or_path = model.config.base_model_name_or_path
    config.target_modules = sorted(name.removeprefix(f"{model.backbone_name}.") for name in config.target_modules)
    config.modules_to_save = None
    config.inference_mode = True
    with replacing(directory / WEIGHTS_FILE) as beside:
        save_file(updates, beside)
    values = {name: sorted(v) if isinstance(v, set) else v for name, v in config.to_dict().items()}
    write_text(directory / CONFIG_FILE, json.dumps(values, indent=2) + "\n")
    model.save_pretrained(directory)


def remove_lora(directory: str | os.PathLike) -> None:
    """Remove the updates that an earlier run left in a folder, which would be added to another model's weights."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (Path(directory) / name).unlink(missing_ok=True)


def merge_lora(language_model: nn.Module, directory: str | os.PathLike, **hub_kwargs: Any) -> None:
    """Add the updates that `save_with_lora` wrote to a language model's weights, in place.

    Raises:
        ImportError: if peft is not installed.
    """
    peft = _peft()
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(language_model, directory, **hub_kwargs)
        adapted.merge_and_unload()
