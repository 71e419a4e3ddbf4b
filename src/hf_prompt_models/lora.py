"""Low-rank updates of a frozen backbone (LoRA, arXiv 2106.09685) next to a learned prompt, with the optional peft.

`add_lora` returns a `PeftModel` to train. `save_with_lora` saves the prompt, the processor and the updates, but no
backbone. `from_pretrained` loads them in any program, with or without peft.

During training peft also saves the other trained tensors (a context, a head, a projection), so that the Trainer's
checkpoints are complete. The final checkpoint has the usual layout, and contains peft's files with the updates, which
`from_pretrained` adds to the weights of the backbone.

The API of peft works for all models of this package, including ALPRO's, which have no frozen backbone:
`peft.get_peft_model(model, LoraConfig(target_modules=..., modules_to_save=["prompt_learner"]))`,
`adapted.save_pretrained(folder)`, and `PeftModel.from_pretrained(model, folder)` on a model that was made in the same
way.
"""

import copy
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import find_adapter_config_file, is_peft_available
from transformers.utils.hub import cached_file

from hf_prompt_models.utils.files import read_json, replacing, write_text


HUB_FOLDER = "lora"
"""Folder of the updates in a repository. If peft's files were at its root, the Auto classes would load an adapter."""
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
MAX_CONFIG_BYTES = 2**20
OTHER_KINDS = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save")
"""Fields of peft's configuration that, if set, change the sum that `merge_lora` computes."""


def import_peft() -> Any:
    """Return the module `peft`.

    Raises:
        ImportError: if peft is not installed.
    """
    if not is_peft_available():
        raise ImportError(
            "LoRA needs peft, which is not installed. Install it with pip install 'hf_prompt_models[peft]'."
        )
    import peft  # imported on use, because it is optional

    return peft


def linear_layers(backbone: PreTrainedModel) -> list[str]:
    """Return the names of the linear layers of a model, except for the output layer.

    Args:
        backbone: the model.
    """
    last = backbone.get_output_embeddings()
    return [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not last
    ]


def add_lora(
    model: Any, rank: int, alpha: float | None = None, dropout: float = 0.0, targets: Iterable[str] | str | None = None
) -> Any:
    """Add trainable low-rank updates to the frozen backbone of a model; its other parts are trained as before.

    Args:
        model: model of a prompt method with a frozen backbone.
        rank: rank of the updates.
        alpha: scale of the updates, which are multiplied with alpha / rank. Default: 2 * rank.
        dropout: dropout probability of the updates.
        targets: linear layers of the backbone to update: the ends of their names, or a regular expression that matches
            complete names. Default: all of `linear_layers`.

    Returns:
        A `PeftModel`.

    Raises:
        ImportError: if peft is not installed.
        ValueError: if no layer has such a name, or the backbone is not frozen.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpForImageClassification
        >>> from hf_prompt_models.training import add_lora
        >>> model = CoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
        >>> adapted = add_lora(model, rank=2, targets=["q_proj"])
        >>> adapted.peft_config["default"].lora_alpha
        4

        ```
    """
    peft = import_peft()
    if any(parameter.requires_grad for parameter in model.backbone.parameters()):
        raise ValueError(
            "LoRA needs a frozen backbone, but this model trains its backbone. Create the model with "
            "trainable='head' (ActionCLIP), trainable='none' (CPT) or freeze_text=True (MAnTiS)."
        )
    names = linear_layers(model.backbone)
    if targets is not None:
        chosen = [name for name in names if _is_target(name, targets)]
        if not chosen:
            asked = targets if isinstance(targets, str) else " or ".join(targets)
            raise ValueError(
                f"The {type(model.backbone).__name__} has no linear layer named {asked}. Its linear layers "
                f"are {names[:8]}."
            )
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
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.backbone.modules()),  # as in GPT-2
        target_modules=[f"{model.backbone_name}.{name}" for name in names],
        modules_to_save=own or None,
    )
    return peft.get_peft_model(model, config)


def _is_target(name: str, targets: Iterable[str] | str) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(f".{name}".endswith(f".{end}") for end in targets)


@dataclass(frozen=True)
class LoraUpdates:
    """Low-rank updates of a backbone, which are saved next to the other files of a checkpoint.

    Attributes:
        config: configuration of peft, as in JSON.
        tensors: tensors of the updates, by their names in peft's files.
    """

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]

    def write(self, directory: str | os.PathLike, backbone: str | None) -> None:
        """Write the files of peft.

        Args:
            directory: folder to write to.
            backbone: Hub id or folder of the backbone, for the configuration.
        """
        directory = Path(directory)
        with replacing(directory / WEIGHTS_FILE) as beside:
            save_file(self.tensors, beside)
        config = self.config | {"base_model_name_or_path": backbone}
        write_text(directory / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def take_lora(adapted: Any) -> Any:
    """Take the updates out of a model of `add_lora`; they are saved next to the weights in its checkpoints.

    Args:
        adapted: the `PeftModel`, which cannot be used afterwards. Use `save_with_lora` to keep it.

    Returns:
        The model without updates in its weights.
    """
    peft = import_peft()
    updates = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    config = copy.copy(adapted.peft_config["default"])
    model = adapted.unload()
    part = f"{model.backbone_name}."
    tensors = {
        PREFIX + name.removeprefix(PREFIX).removeprefix(part): tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in updates.items()
        if ".lora_" in name
    }
    config.target_modules = sorted(name.removeprefix(part) for name in config.target_modules)
    config.modules_to_save = None
    config.inference_mode = True
    values = {name: sorted(v) if isinstance(v, set) else v for name, v in config.to_dict().items()}
    model.lora_updates = LoraUpdates(values, tensors)
    return model


def save_with_lora(adapted: Any, directory: str | os.PathLike) -> None:
    """Save a model of `add_lora`: a checkpoint without the backbone, and the updates in peft's files.

    The model is not changed, so that training can continue.

    Args:
        adapted: the `PeftModel`.
        directory: folder to save both to.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from hf_prompt_models import CoOpForImageClassification
        >>> from hf_prompt_models.training import add_lora, save_with_lora
        >>> model = CoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
        >>> save_with_lora(add_lora(model, rank=2, targets=["q_proj"]), "mine")
        >>> sorted(file.name for file in Path("mine").glob("*.safetensors"))
        ['adapter_model.safetensors', 'model.safetensors']
        >>> loaded = CoOpForImageClassification.from_pretrained("mine")  # with the updates in its backbone

        ```
    """
    # Only the modules are copied, because unloading replaces them. Weights and the processor are shared.
    tensors = [*adapted.parameters(), *adapted.buffers()]
    shared = {id(each): each for each in (*tensors, adapted.base_model.model.processor)}
    trainable = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    take_lora(copy.deepcopy(adapted, shared)).save_pretrained(directory)
    for parameter in trainable:
        parameter.requires_grad_(True)


def remove_lora(directory: str | os.PathLike) -> None:
    """Remove the updates of an earlier run from a folder, which would be added to the weights of another model.

    Args:
        directory: the folder.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (Path(directory) / name).unlink(missing_ok=True)


def move_lora_for_hub(directory: Path) -> None:
    """Move the updates in a folder to their place in a repository, `HUB_FOLDER`.

    Args:
        directory: the folder.
    """
    (directory / HUB_FOLDER).mkdir()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (directory / name).rename(directory / HUB_FOLDER / name)


def find_lora(path: str | os.PathLike, **hub_kwargs: Any) -> str | None:
    """Return the subfolder of a checkpoint that contains updates, or `None` if it has no updates.

    Args:
        path: folder or Hub id of the checkpoint.
        hub_kwargs: `revision`, `token`, `subfolder`, …. The result is relative to `path`, and includes `subfolder`.
    """
    inner = hub_kwargs.pop("subfolder", "")
    for folder in (inner, f"{inner}/{HUB_FOLDER}".lstrip("/")):
        if find_adapter_config_file(path, subfolder=folder, **hub_kwargs) is not None:
            return folder
    return None


@torch.no_grad()
def merge_lora(backbone: nn.Module, path: str | os.PathLike, folder: str, **hub_kwargs: Any) -> None:
    """Add the updates in a checkpoint to the weights of a backbone: W + alpha / rank * B A.

    This does not need peft, and does not use it, because configurations of peft may contain modules to import.

    Args:
        backbone: model whose weights are changed.
        path: folder or Hub id of the checkpoint.
        folder: subfolder with the updates, as returned by `find_lora`.
        hub_kwargs: `revision`, `token`, ….

    Raises:
        OSError: if the updates are missing or damaged.
        ValueError: if the updates are not of the kind that `save_with_lora` writes, or do not fit the backbone.
    """
    hub_kwargs |= {"subfolder": folder}
    settings = read_json(cached_file(path, CONFIG_FILE, **hub_kwargs), MAX_CONFIG_BYTES, "configurations")
    file = cached_file(path, WEIGHTS_FILE, **hub_kwargs)
    if (
        not isinstance(settings, dict)
        or settings.get("peft_type") != "LORA"
        or any(settings.get(name) for name in OTHER_KINDS)
        or not isinstance(rank := settings.get("r"), int)
        or not isinstance(alpha := settings.get("lora_alpha"), int | float)
    ):
        raise ValueError(
            f"{CONFIG_FILE} of {str(path)!r} was not written by save_with_lora. Save adapters of peft in "
            "another folder, and load them with peft.PeftModel.from_pretrained(model, folder)."
        )
    try:
        with safe_open(file, framework="pt") as weights:
            updates = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise OSError(f"{file} is damaged ({error}). Copy or save it again.") from error
    modules = {name: each for name, each in backbone.named_modules() if isinstance(each, nn.Linear | Conv1D)}
    names = sorted({name.rpartition(".lora_")[0].removeprefix(PREFIX) for name in updates})
    expected: dict[str, tuple[int, ...]] = {}
    for name in modules.keys() & set(names):
        weight = modules[name].weight
        rows, columns = weight.T.shape if isinstance(modules[name], Conv1D) else weight.shape
        expected |= {_update_name(name, "A"): (rank, columns), _update_name(name, "B"): (rows, rank)}
    found = {name: tuple(tensor.shape) for name, tensor in updates.items()}
    if found != expected:
        wrong, shape = min(found.items() ^ expected.items())
        raise ValueError(f"{file} does not fit the backbone: check {wrong}, {shape}.")
    for name in names:
        module = modules[name]
        update = alpha / rank * (updates[_update_name(name, "B")] @ updates[_update_name(name, "A")])
        update = (update.T if isinstance(module, Conv1D) else update).to(module.weight.device)
        module.weight.data = module.weight + update  # not in the memory, which other models may share


def _update_name(layer: str, matrix: str) -> str:
    return f"{PREFIX}{layer}.lora_{matrix}.weight"
