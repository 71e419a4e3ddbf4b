"""Low-rank updates of the language model (LoRA, arXiv 2106.09685), by peft, which is an optional extra.

What is trained beside them (projection, vision backbone) is kept by peft while training goes on, so that the Trainer's
checkpoints are whole; the finished model is a checkpoint like others, with peft's files of the language model in it.
"""

import copy
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import find_adapter_config_file, is_peft_available

from hf_prompt_models.data.files import replacing, write_text


HUB_FOLDER = "lora"
"""In a repository: at its root, the Auto classes would take peft's files for a language model with updates alone."""
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


@dataclass(frozen=True)
class LoraUpdates:
    """Updates of a language model by itself, which a checkpoint has beside it.

    Attributes:
        config: of peft, as JSON has it.
        tensors: by the names that peft's files have.
    """

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]

    def write(self, directory: str | os.PathLike, language_model: str | None) -> None:
        """Write peft's files.

        Args:
            directory: where to.
            language_model: Hub id or folder, for the configuration.
        """
        directory = Path(directory)
        with replacing(directory / WEIGHTS_FILE) as beside:
            save_file(self.tensors, beside)
        config = self.config | {"base_model_name_or_path": language_model}
        write_text(directory / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def take_lora(adapted: Any) -> Any:
    """The model of `add_lora`, without updates in its weights, but beside them in the checkpoints that it writes.

    Args:
        adapted: the `PeftModel`, which is no more afterwards.
    """
    peft = _peft()
    tensors = {
        PREFIX + name.removeprefix(MODEL_PREFIX): tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in peft.get_peft_model_state_dict(adapted).items()
        if ".lora_" in name
    }
    config = copy.copy(adapted.peft_config["default"])
    model = adapted.unload()
    config.target_modules = sorted(name.removeprefix(f"{model.backbone_name}.") for name in config.target_modules)
    config.modules_to_save = None
    config.inference_mode = True
    values = {name: sorted(v) if isinstance(v, set) else v for name, v in config.to_dict().items()}
    model.lora_updates = LoraUpdates(values, tensors)
    return model


def remove_lora(directory: str | os.PathLike) -> None:
    """Remove the updates that an earlier run left in a folder, which would be added to another model's weights."""
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (Path(directory) / name).unlink(missing_ok=True)


def move_lora_for_hub(directory: Path) -> None:
    """Put the updates of a folder where they go in a repository: below `HUB_FOLDER`."""
    (directory / HUB_FOLDER).mkdir()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (directory / name).rename(directory / HUB_FOLDER / name)


def find_lora(path: str | os.PathLike, **hub_kwargs: Any) -> str | None:
    """The folder within a folder or repository, and within its `subfolder`, that holds updates, or `None`."""
    inner = hub_kwargs.pop("subfolder", "")
    for folder in (inner, f"{inner}/{HUB_FOLDER}".lstrip("/")):
        if find_adapter_config_file(path, subfolder=folder, **hub_kwargs) is not None:
            return folder
    return None


def merge_lora(language_model: nn.Module, path: str | os.PathLike, folder: str, **hub_kwargs: Any) -> None:
    """Add the updates that a checkpoint has beside it to a language model's weights, in place.

    Args:
        language_model: whose weights.
        path: folder or Hub id of the checkpoint.
        folder: within it, as `find_lora` found.
        hub_kwargs: `revision`, `token`, ….

    Raises:
        ImportError: if peft is not installed.
    """
    peft = _peft()
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(language_model, path, **hub_kwargs | {"subfolder": folder})
        adapted.merge_and_unload()
