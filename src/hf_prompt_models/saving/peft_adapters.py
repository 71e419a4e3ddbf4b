"""Save and load the adapters that transformers' PEFT integration adds to a model (`model.add_adapter`).

A checkpoint of such a model holds the model as every checkpoint does, and each adapter in the files of PEFT: `default`
next to `config.json`, the others in folders named after them. `config.peft_adapters` lists them, so that loading does
not guess. The weights file has the tensor names of the model with adapters, which the Trainer needs to resume.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils import CONFIG_NAME, find_adapter_config_file
from transformers.utils.hub import cached_file

from hf_prompt_models.checkpoints.fingerprint import digest_tensors
from hf_prompt_models.lora import CONFIG_FILE, MAX_CONFIG_BYTES, PREFIX, WEIGHTS_FILE, find_lora, import_peft
from hf_prompt_models.utils.files import read_json


DEFAULT = "default"
Digests = dict[str, tuple[torch.dtype, bytes]]
_WRAPPED = re.compile(r"\.(base_layer|original_module)(?=\.)")
"""The part that PEFT adds to the tensor names of a wrapped module."""


def plain_name(name: str) -> str:
    """Return the name that a tensor has in a model without adapters."""
    return _WRAPPED.sub("", name)


def without_adapters(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Return a map from the tensor names of a model without adapters to those with adapters.

    Args:
        names: names of the tensors of the model with adapters.
        own: names of the tensors of the model without adapters.
    """
    own = set(own)
    plain = {plain_name(name): name for name in names}
    return {name: plain[name] for name in plain if name in own}


def has_adapters(model: PreTrainedModel) -> bool:
    """Return whether `add_adapter` or `load_adapter` was called."""
    return model._hf_peft_config_loaded  # transformers has no public attribute for it


def active_adapters(model: PreTrainedModel) -> dict[str, bool]:
    """Return the names of the adapters of a model, and whether each one is active.

    Raises:
        ValueError: if an adapter is merged into the weights, because a checkpoint would contain it twice.
    """
    if not has_adapters(model):
        return {}
    from peft.tuners.tuners_utils import BaseTunerLayer  # an optional dependency, installed if there are adapters

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if any(layer.merged for layer in layers):
        raise ValueError("An adapter is merged into the weights of this model. Unmerge it before saving.")
    disabled = any(layer.disable_adapters for layer in layers)
    active = [] if disabled else model.active_adapters()
    return {name: name in active for name in model.peft_config}


def unwrap(model: PreTrainedModel) -> None:
    """Restore the original modules that PEFT wrapped, once the adapters are deleted."""
    from peft.tuners.tuners_utils import BaseTunerLayer  # an optional dependency, installed if there are adapters
    from peft.utils import AuxiliaryTrainingWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            model.set_submodule(name, module.get_base_layer())
        elif isinstance(module, AuxiliaryTrainingWrapper):
            model.set_submodule(name, module.original_module)


@contextmanager
def complete_model_saved(model: PreTrainedModel) -> Iterator[None]:
    """Let transformers' `save_pretrained` write the complete model; by default, it writes only the adapters."""
    before = model._hf_peft_config_loaded
    model._hf_peft_config_loaded = False
    try:
        yield
    finally:
        model._hf_peft_config_loaded = before


def write_adapters(model: PreTrainedModel, folder: Path, state_dict: Mapping[str, torch.Tensor] | None) -> None:
    """Write each adapter in the files of PEFT.

    Args:
        model: the model with adapters.
        folder: folder of the checkpoint.
        state_dict: state dict of the model if it is sharded over processes.
    """
    peft = import_peft()
    for name, config in model.peft_config.items():
        place = folder if name == DEFAULT else folder / name
        place.mkdir(exist_ok=True)
        # PEFT would query the Hub to see whether the vocabulary has grown. The weights file has the embeddings.
        tensors = peft.get_peft_model_state_dict(
            model, state_dict=state_dict, adapter_name=name, save_embedding_layers=False
        )
        tensors = {PREFIX + key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        save_file(tensors, place / WEIGHTS_FILE, {"format": "pt"})
        config.save_pretrained(place)


def load_adapters(
    model: PreTrainedModel, path: str | os.PathLike, adapters: Mapping[str, bool], hub_kwargs: Mapping[str, Any]
) -> None:
    """Load the adapters of a checkpoint into the model that was loaded from it.

    Args:
        model: the model without adapters.
        path: folder or Hub id.
        adapters: the names of the adapters, and whether each one is active.
        hub_kwargs: `revision`, `token`, ….
    """
    peft = import_peft()
    inner = hub_kwargs.get("subfolder", "")
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name in adapters:
        folder = find_lora(path, **hub_kwargs) if name == DEFAULT else f"{inner}/{name}".lstrip("/")
        place = {**hub_kwargs, "subfolder": folder or ""}
        config = peft.PeftConfig.from_pretrained(str(path), **place)
        config.inference_mode = True
        model.add_adapter(config, name)
        file = cached_file(path, WEIGHTS_FILE, **place)
        tensors = {key.removeprefix(PREFIX): tensor for key, tensor in load_file(file).items()}
        expected = peft.get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
        if {key: t.shape for key, t in tensors.items()} != {key: t.shape for key, t in expected.items()}:
            raise ValueError(f"{file} does not fit the adapter that {CONFIG_FILE} describes. Copy or save it again.")
        peft.set_peft_model_state_dict(model, tensors, adapter_name=name)
    active = [name for name, is_active in adapters.items() if is_active]
    if active:
        model.set_adapter(active)
    else:
        model.disable_adapters()
    for name, parameter in model.named_parameters():  # PEFT freezes all but the adapters; loaded adapters do not train
        parameter.requires_grad_(plain_name(name) in trainable)


def find_base(path: str | os.PathLike, hub_kwargs: Mapping[str, Any]) -> str | None:
    """Return the base model of a folder that holds only files of PEFT; `None` for any other folder.

    Raises:
        ValueError: if the files do not name a base model.
    """
    if not os.path.isdir(path) or Path(path, hub_kwargs.get("subfolder", ""), CONFIG_NAME).is_file():
        return None
    file = find_adapter_config_file(str(path), subfolder=hub_kwargs.get("subfolder", ""))
    if file is None:
        return None
    base = read_json(file, MAX_CONFIG_BYTES, "configurations").get("base_model_name_or_path")
    if not base:
        raise ValueError(
            f"{str(path)!r} contains only an adapter, and its {CONFIG_FILE} has no base_model_name_or_path. "
            "Load the model first, then call model.load_adapter(folder)."
        )
    return str(base)


def digest_backbone(weights: Mapping[str, torch.Tensor]) -> Digests:
    """Return the dtype and a digest of each weight of a backbone, by its name without adapters."""
    digests = digest_tensors(weights)
    return {plain_name(name): (tensor.dtype, digests[name]) for name, tensor in weights.items()}
