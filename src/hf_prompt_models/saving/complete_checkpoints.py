"""Load complete checkpoints, and write them so that a crash leaves the earlier ones intact."""

import copy
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoProcessor, GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers import initialization as init
from transformers.utils import CONFIG_NAME

from hf_prompt_models.checkpoints.untrusted import check_weights, reading, weight_files
from hf_prompt_models.configuration_utils import has_default_names, other_class_names
from hf_prompt_models.lora import CONFIG_FILE, WEIGHTS_FILE, move_lora_for_hub
from hf_prompt_models.saving.peft_adapters import (
    active_adapters,
    complete_model_saved,
    find_base,
    has_adapters,
    load_adapters,
    plain_name,
    unwrap,
    without_adapters,
    write_adapters,
)
from hf_prompt_models.utils.files import list_directory, locked, move_files, naming_what_fails, staging, sync


HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


class CompleteCheckpoints(PreTrainedModel):
    """Base class for loading and saving all models of this package."""

    processor: ProcessorMixin | None = None
    """Processor that is saved with the model, so that `pipeline()` can load the folder.

    If it is `None`, the processor in the folder that the model was loaded from is saved.
    """
    names_its_classes: ClassVar[bool] = False
    """Whether prompts or a head depend on the names in `config.id2label`, so that they are not only for display."""

    # -- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a checkpoint as in transformers, with its adapters. Weights are read only from safetensors files.

        If `id2label` differs from the checkpoint's, the new class names are tokenised, as `set_classes` does.

        Args:
            pretrained_model_name_or_path: Hub id or folder of the checkpoint.
            model_args: positional arguments of the model, as in transformers.
            config: configuration, or its folder or Hub id. Default: the checkpoint's.
            kwargs: keyword arguments of transformers' `from_pretrained`, and fields of the configuration.

        Raises:
            OSError: if files are missing or damaged.
            ValueError: if the weights do not match the model that the configuration describes, or the model does not
                support other classes.
        """
        path = pretrained_model_name_or_path
        if path is None:
            return super().from_pretrained(path, *model_args, config=config, **kwargs)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        adapter_kwargs = dict(kwargs.pop("adapter_kwargs", None) or {})
        adapter_name = kwargs.pop("adapter_name", "default")
        adapter = adapter_kwargs.pop("_adapter_model_path", None)  # set if the Auto classes found an adapter
        if (base := find_base(path, hub_kwargs)) is not None:
            adapter, path = path, base
        if not isinstance(config, PreTrainedConfig):
            config = cls._read_config(config or path, hub_kwargs, kwargs)
        assert isinstance(config, PreTrainedConfig)
        class_names = None
        if cls.names_its_classes:
            saved = cls.config_class.from_pretrained(path, **hub_kwargs)
            # A pre-training checkpoint has neither the head of this class nor names for it. The caller sets them.
            is_other = cls.__name__ not in (saved.architectures or [cls.__name__]) and has_default_names(saved)
            class_names = None if is_other else other_class_names(config, saved, str(path))
            if kwargs.get("ignore_mismatched_sizes") and len(saved.id2label) != len(config.id2label):
                class_names = None  # the head is newly initialised, which transformers reports
            if class_names is not None:
                config.id2label, config.label2id = saved.id2label, saved.label2id
        adapters, config.peft_adapters = config.peft_adapters, None
        try:
            loaded = cls._load(path, config, adapters, hub_kwargs, *model_args, **kwargs)
        except SafetensorError as error:
            raise OSError(f"The weights in {str(path)!r} are damaged ({error}). Copy or save them again.") from error
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        refuse_offloading(model)
        # The path is absolute, so that files looked up later (the processor) are not searched on the Hub.
        model.name_or_path = os.path.abspath(path) if os.path.isdir(path) else str(path)
        model._freeze_loaded()
        if class_names is not None:
            model._change_classes(class_names)
        if adapters:
            load_adapters(model, path, adapters, hub_kwargs)
        if adapter is not None and str(adapter) != str(path):
            model.load_adapter(str(adapter), adapter_name=adapter_name, adapter_kwargs=adapter_kwargs)
        return loaded

    @classmethod
    def _read_config(
        cls, path: str | os.PathLike, hub_kwargs: dict[str, Any], kwargs: dict[str, Any]
    ) -> PreTrainedConfig:
        """Read the configuration, and remove its fields from `kwargs`."""
        own = {field.name for field in fields(cls.config_class)} - {"dtype"} | {"num_labels"}
        given = {name: kwargs.pop(name) for name in own & kwargs.keys()}
        given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
        return cls.config_class.from_pretrained(path, **hub_kwargs, **given)

    @classmethod
    def _load(
        cls,
        path: str | os.PathLike,
        config: PreTrainedConfig,
        adapters: Mapping[str, bool] | None,
        hub_kwargs: dict[str, Any],
        *model_args: Any,
        **kwargs: Any,
    ) -> Any:
        """Load the model without its adapters from a complete checkpoint."""
        kwargs.setdefault("use_safetensors", True)
        # Quantised weights have other shapes.
        quantised = kwargs.get("quantization_config") or config.to_dict().get("quantization_config")
        if not kwargs.get("ignore_mismatched_sizes") and not quantised:
            check_weights(cls._shapes(path, config), path, hub_kwargs)
        if not adapters:
            return super().from_pretrained(path, *model_args, config=config, **kwargs)
        tensors: dict[str, torch.Tensor] = {}
        for file in weight_files(path, hub_kwargs):
            with safe_open(file, framework="pt") as weights:
                tensors |= {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
        own = without_adapters(tensors, cls._shapes(path, config))
        state_dict = {name: tensors[live] for name, live in own.items()}
        loaded = super().from_pretrained(None, *model_args, config=config, state_dict=state_dict, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.can_generate():
            model.generation_config = GenerationConfig.from_pretrained(path, **hub_kwargs)
        return loaded

    @classmethod
    def _shapes(cls, path: str | os.PathLike, config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that a configuration describes, by name, without allocating memory."""
        with reading(path, "config.json"), torch.device("meta"), init.no_init_weights():
            # Use a copy, because building a model writes its attention implementation into the configuration, and
            # the class of the backbone may have to choose one later.
            model = cls(copy.deepcopy(config))
            return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def _freeze_loaded(self) -> None:
        """Freeze the parameters that transformers un-freezes while loading."""

    def _change_classes(self, class_names: list[str]) -> None:
        """Replace the classes of the checkpoint."""
        raise ValueError(
            f"Cannot change the class names of a {type(self).__name__} in its configuration "
            f"({class_names[:3]}…), because its trained weights belong to the class names it was saved with. "
            "Remove id2label, label2id and num_labels."
        )

    # -- saving ------------------------------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | os.PathLike, *, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json`, the processor, the weights and PEFT adapters to a folder.

        Files are written to a temporary folder and moved into place, so that a crash leaves earlier files intact.

        Args:
            save_directory: the folder, created if needed.
            push_to_hub: whether to upload the checkpoint after saving, as in transformers.
            kwargs: keyword arguments of transformers' `save_pretrained`.

        Raises:
            OSError: if the disk is full, the folder is read-only, …
            ValueError: if the model could not be loaded again as it is.
        """
        directory = Path(save_directory)
        if directory.is_file():
            raise ValueError(f"Cannot save to {str(directory)!r}, because it is a file. Pass a folder.")
        if push_to_hub:
            raise ValueError("Cannot push while saving. Save first, then call push_to_hub(repo_id) on the model.")
        kwargs.setdefault("save_original_format", False)  # older tensor names of a part do not fit this model
        self.config.__dict__.pop("auto_map", None)  # it refers to a module that is not saved
        is_main_process, state_dict = kwargs.get("is_main_process", True), kwargs.get("state_dict")
        if state_dict is not None:
            kwargs["state_dict"] = dict(state_dict)  # a copy, because transformers removes saved tensors
        if is_main_process:
            self._check_described(state_dict)
        self.config.peft_adapters = active_adapters(self) or None
        try:
            with naming_what_fails(f"save the model to {str(directory)!r}"):
                directory.mkdir(parents=True, exist_ok=True)
                with staging(directory) as folder:
                    with complete_model_saved(self):
                        super().save_pretrained(folder, **kwargs)
                    if is_main_process:
                        if (processor := self._find_processor()) is not None:
                            processor.save_pretrained(folder)
                        if has_adapters(self):
                            write_adapters(self, folder, state_dict)
                        self._save_extra_files(folder)
                    _move_into_place(folder, directory)
        finally:
            self.config.peft_adapters = None

    def _check_described(self, state_dict: Mapping[str, torch.Tensor] | None) -> None:
        """Refuse a model with tensors that its configuration does not describe, because loading would drop them.

        Adapters of `add_adapter` are not checked: they are saved in separate files.
        """
        if self.config.to_dict().get("quantization_config"):
            return  # quantised weights have other names and shapes
        expected = self._shapes("this model", self.config)
        for name, tensor in (self.state_dict() if state_dict is None else state_dict).items():
            shape = expected.get(plain_name(name) if has_adapters(self) else name)
            if (shape is None and has_adapters(self)) or shape == tuple(tensor.shape):
                continue
            described = "does not describe" if shape is None else f"describes as {shape}"
            raise ValueError(
                f"This model has a tensor {name} of shape {tuple(tensor.shape)} that its configuration {described}, "
                "so loading could not restore it. Save a PeftModel with hf_prompt_models.lora.save_with_lora or "
                "merge it, and resize embeddings with resize_token_embeddings."
            )

    def delete_adapter(self, adapter_names: list[str] | str) -> None:
        """Delete PEFT adapters, as in transformers. After the last one, the model has its original layers again."""
        super().delete_adapter(adapter_names)
        if not has_adapters(self):
            unwrap(self)

    def _save_extra_files(self, folder: Path) -> None:
        """Write the files that a checkpoint has next to its weights."""

    def _arrange_for_hub(self, folder: Path) -> None:
        """Prepare a saved folder for the upload."""
        if (folder / CONFIG_FILE).is_file():
            move_lora_for_hub(folder)

    def _find_processor(self) -> ProcessorMixin | None:
        place = self.name_or_path
        if self.processor is None and place and (os.path.isdir(place) or not os.path.isabs(place)):
            try:
                self.processor = AutoProcessor.from_pretrained(place)
            except OSError:  # the source folder of the model has no processor
                return None
        return self.processor


def _move_into_place(folder: Path, directory: Path) -> None:
    """Move the files of a checkpoint into place, and remove files of an earlier one that it does not have."""
    written = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    for file in written:
        sync(folder / file)
    # One process at a time, because each would mistake the weights of the other for those of an earlier save.
    with locked(directory, wait=True):
        stale = set()
        if written:  # on the main process
            stale = set(list_directory(directory, "model*.safetensors*"))
            if (directory / CONFIG_NAME).is_file():
                stale |= {directory / name for name in (CONFIG_FILE, WEIGHTS_FILE)}
        for inner in {file.parent for file in written} - {Path()}:
            (directory / inner).mkdir(exist_ok=True)
            move_files(folder / inner, directory / inner)
            (folder / inner).rmdir()
        move_files(folder, directory)
        for left in stale - {directory / file for file in written}:
            left.unlink(missing_ok=True)
    sync(directory)


def refuse_offloading(model: PreTrainedModel) -> None:
    """Refuse a model with parts that were offloaded to disk or to CPU memory.

    Prompts use single layers and parameters of the backbone directly, and their values would not be fetched.

    Raises:
        ValueError: if parts are offloaded; the message says how to load the model.
    """
    places = {str(place) for place in getattr(model, "hf_device_map", {}).values()}  # set if device_map was passed
    if places & {"cpu", "disk"} and any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            f"Parts of the {type(model).__name__} do not fit into the memory that device_map and max_memory "
            "allow, and prompts cannot be computed with offloaded weights. Raise max_memory, load the model "
            "in 16 bits (dtype='bfloat16'), or load it on one device (device_map='cpu')."
        )


def attention_choices(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the `attn_implementation` of a configuration and its parts, in the form that transformers accepts."""
    parts = {name: getattr(config, name) for name in config.sub_configs}
    return {"": config._attn_implementation} | {
        name: attention_choices(part) for name, part in parts.items() if part is not None
    }
