"""Checkpoints of prompt methods: only the learned tensors, or also the backbone if it differs from its base model.

The content of a checkpoint depends on the current weights, not on the configuration. Digests of the backbone's weights
are computed when it is loaded and compared when it is saved. This takes as long as reading the weights once from
memory (0.1 s for a ViT-L). If the dtype was changed in between, the backbone is compared with its base model, which is
loaded again in the new dtype.
"""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME, logging
from transformers.utils.hub import cached_file

from hf_prompt_models.backbones.packaged import locate_backbone, portable_name
from hf_prompt_models.checkpoints.fingerprint import check_fingerprint, compute_fingerprint
from hf_prompt_models.checkpoints.untrusted import reading
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.hub.repository import cached_commit
from hf_prompt_models.lora import CONFIG_FILE as LORA_CONFIG_FILE
from hf_prompt_models.lora import LoraUpdates, find_lora, merge_lora
from hf_prompt_models.saving.complete_checkpoints import CompleteCheckpoints, attention_choices, refuse_offloading
from hf_prompt_models.saving.peft_adapters import Digests, digest_backbone, has_adapters, without_adapters
from hf_prompt_models.utils.parameters import own_weights


logger = logging.get_logger(__name__)

BASE_MODEL_FIELDS = ("base_model_name_or_path", "base_model_revision", "base_model_fingerprint")


class PromptCheckpoints(CompleteCheckpoints):
    """Base class for loading and saving models of prompt methods."""

    config: PromptConfig
    backbone_name: ClassVar[str]
    packaged_backbone: ClassVar[str]
    """Folder of the backbone that the name "playground" stands for."""
    lora_updates: LoraUpdates | None = None
    """LoRA updates that are not merged into the backbone (`hf_prompt_models.lora`); saved next to the weights."""
    _base_digests: Digests | None = None
    """Digests of the backbone's weights in its base model; `None` if the weights were not loaded from the base."""
    _warned_of_backbone = False

    @property
    def backbone(self) -> PreTrainedModel:
        """Backbone of the model."""
        return getattr(self, self.backbone_name)

    @classmethod
    def backbone_config_name(cls) -> str:
        """Return the field of the configuration that holds the configuration of the backbone."""
        return f"{cls.backbone_name}_config"

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Return the names of small tensors that distinguish this backbone from others."""
        raise NotImplementedError

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the backbone."""
        raise NotImplementedError

    def freeze_backbone(self) -> None:
        """Freeze the backbone."""
        raise NotImplementedError

    def _trains_backbone(self) -> bool:
        raise NotImplementedError

    # -- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a checkpoint. A prompt-only one loads its backbone from `config.base_model_name_or_path`.

        If `id2label` differs from the checkpoint's, the new class names are tokenised, as `set_classes` does.

        Args:
            pretrained_model_name_or_path: Hub id or folder of the checkpoint.
            model_args: positional arguments of the model, as in transformers.
            kwargs: keyword arguments of transformers' `from_pretrained` (`dtype`, `device_map`,
                `attn_implementation`, …), which are passed to the backbone, and fields of the configuration. Pass
                `base_model_name_or_path=...` if the backbone has moved.

        Raises:
            OSError: if files are missing or damaged.
            ValueError: if the prompt or the backbone does not fit the configuration.
        """
        return super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    @classmethod
    def _load(
        cls,
        path: str | os.PathLike,
        config: Any,
        adapters: Mapping[str, bool] | None,
        hub_kwargs: dict[str, Any],
        *model_args: Any,
        **kwargs: Any,
    ) -> Any:
        if isinstance(config, PromptConfig) and config.weights_scope == "prompt":
            return cls._from_prompt_checkpoint(path, config, hub_kwargs, adapters, **kwargs)
        return super()._load(path, config, adapters, hub_kwargs, *model_args, **kwargs)

    def _freeze_loaded(self) -> None:
        for name, module in self.named_children():
            if name != self.backbone_name:
                own_weights(module.parameters())
        self.freeze_backbone()
        self._own_trained_backbone()

    def _own_trained_backbone(self) -> None:
        """Save a trained backbone in checkpoints from now on, and no longer refer to its base model."""
        scope = self.config.weights_scope
        if self._trains_backbone():
            self.config.update(dict.fromkeys(BASE_MODEL_FIELDS))
            scope = "full"
        self._set_weights_scope(scope)

    @classmethod
    def _from_prompt_checkpoint(
        cls,
        path: str | os.PathLike,
        config: PromptConfig,
        hub_kwargs: dict[str, Any],
        adapters: Mapping[str, bool] | None = None,
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load the backbone with its own `from_pretrained`, then the learned tensors.

        LoRA updates of the backbone (`hf_prompt_models.lora`) in the checkpoint are added to its weights. PEFT
        `adapters` are loaded later by the caller.
        """
        base = config.base_model_name_or_path
        if base is None:
            raise ValueError(
                f"{str(path)!r} contains only a prompt (weights_scope='prompt') and does not name its "
                "backbone. Pass base_model_name_or_path=... with a Hub id or a folder."
            )
        base = config.base_model_name_or_path = portable_name(base, cls.packaged_backbone)
        if os.path.isabs(base) and not os.path.isdir(base):
            raise OSError(
                f"{str(path)!r} was trained for the backbone in {base!r}, which does not exist. Pass "
                "base_model_name_or_path=... with its new location; save_pretrained(..., save_backbone=True) "
                "writes folders that contain the backbone."
            )
        prompt, new = cls._read_prompt(path, config, hub_kwargs, bool(adapters), ignore_mismatched_sizes)
        for name in ("revision", "subfolder"):  # they refer to the repository of the prompt
            kwargs.pop(name, None)
        if kwargs.get("dtype", kwargs.get("torch_dtype", "auto")) == "auto" and config.dtype is not None:
            kwargs["dtype"] = config.dtype  # the dtype of the saved model, not of the backbone on disk
        if (attention := kwargs.pop("attn_implementation", None)) is not None:
            config._attn_implementation = attention  # the Auto classes leave the argument here, for all parts
        backbone_field = cls.backbone_config_name()
        kwargs["attn_implementation"] = {backbone_field: attention_choices(getattr(config, backbone_field))}
        if config.base_model_revision is not None:
            kwargs["revision"] = config.base_model_revision
        try:
            backbone = cls.load_backbone(base, **kwargs)
        except OSError as error:
            raise OSError(f"{str(path)!r} was trained for a backbone that cannot be loaded: {error}") from error
        refuse_offloading(backbone)
        config.base_model_revision = cached_commit(locate_backbone(base, cls.packaged_backbone), kwargs)
        if config.base_model_fingerprint is not None:
            with reading(path, "config.json"):
                check_fingerprint(backbone.state_dict(), config.base_model_fingerprint, str(base), str(path))
        if (updates := None if adapters else find_lora(path, **hub_kwargs)) is not None:
            with reading(path, LORA_CONFIG_FILE):
                merge_lora(backbone, path, updates, **hub_kwargs)
            # The backbone now differs from its base model.
            config.update(dict.fromkeys(BASE_MODEL_FIELDS))
        model = cls._from_parts(config, backbone, prompt, attention)
        if updates is not None:
            model._set_weights_scope("full")
        if model.can_generate():
            model.generation_config = GenerationConfig.from_pretrained(path, **hub_kwargs)
        if output_loading_info:
            empty: dict[str, set] = {key: set() for key in ("unexpected_keys", "mismatched_keys")}
            return model, {**empty, "missing_keys": new, "error_msgs": []}
        return model

    @classmethod
    def _from_parts(
        cls,
        config: PromptConfig,
        backbone: PreTrainedModel,
        prompt: dict[str, torch.Tensor],
        attention: str | dict[str, Any] | None = None,
    ) -> Self:
        """Build a model from a loaded backbone and learned tensors. Tensors that are not given are initialised.

        `attention` is the requested `attn_implementation`, which the backbone already uses for its part.
        """
        # Use the same object as the backbone. It is set late, because a new configuration resets the attention of its
        # parts.
        setattr(config, cls.backbone_config_name(), backbone.config)
        backbone.config.name_or_path = ""  # base_model_name_or_path has it; a full checkpoint does not need it
        if attention is not None:
            config._attn_implementation = attention
        model = cls(config, backbone=backbone)
        own = [module for name, module in model.named_children() if name != cls.backbone_name]
        for module in own:  # learned modules are never in half precision, and in double precision if the backbone is
            module.to(torch.promote_types(backbone.dtype, torch.float32))
        model.load_state_dict(prompt, strict=False)
        for module in own:
            module.to(backbone.device)
        model._freeze_loaded()
        if config.base_model_name_or_path is not None:
            model._base_digests = digest_backbone(model.backbone.state_dict())
        return model.eval()

    @classmethod
    def _read_prompt(
        cls,
        path: str | os.PathLike,
        config: PromptConfig,
        hub_kwargs: dict[str, Any],
        has_adapters: bool,
        ignore_mismatched_sizes: bool,
    ) -> tuple[dict[str, torch.Tensor], set[str]]:
        """Read the learned tensors after checking names and shapes against the configuration.

        Returns:
            The tensors, and the names of those to initialise, which is empty without `ignore_mismatched_sizes`.
        """
        shapes = cls._shapes(path, config)
        expected = {name: shape for name, shape in shapes.items() if not name.startswith(f"{cls.backbone_name}.")}
        if not expected:
            return {}, set()
        file = cached_file(path, SAFE_WEIGHTS_NAME, **hub_kwargs)
        try:
            with safe_open(file, framework="pt") as weights:
                names = {name: name for name in weights.keys()}  # noqa: SIM118
                if has_adapters:
                    names = without_adapters(names, shapes)
                found = {name: tuple(weights.get_slice(live).get_shape()) for name, live in names.items()}
                new = {name for name, shape in expected.items() if found.get(name) != shape}
                if found != expected and not ignore_mismatched_sizes:
                    raise ValueError(
                        f"{file} does not match its config.json: found {found}, expected {expected}. Copy or "
                        "save both files again."
                    )
                if new:
                    logger.warning(
                        f"{len(new)} tensors are missing from {file} or have other shapes there, and are "
                        f"newly initialized: {', '.join(sorted(new))}. Train the model before you use it."
                    )
                return {name: weights.get_tensor(names[name]) for name in expected.keys() - new}, new
        except SafetensorError as error:
            raise OSError(f"{file} is damaged ({error}). Copy or save it again.") from error

    @classmethod
    def _base_model_fields(
        cls, name_or_path: str | os.PathLike, backbone: PreTrainedModel, hub_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the configuration fields that name the backbone of a prompt, by its `portable_name`.

        `hub_kwargs` are those that it was loaded with. Their revision is recorded as the commit that was loaded.
        """
        place = locate_backbone(name_or_path, cls.packaged_backbone)
        return {
            "base_model_name_or_path": portable_name(name_or_path, cls.packaged_backbone),
            "base_model_revision": cached_commit(place, hub_kwargs),
            "base_model_fingerprint": compute_fingerprint(backbone.state_dict(), cls.fingerprint_weights(backbone)),
            "weights_scope": "prompt",
        }

    # -- saving ------------------------------------------------------------------------------------------------------

    def _set_weights_scope(
        self, scope: Literal["prompt", "full"], state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Set what the next checkpoint holds. A resuming Trainer expects exactly the ignored keys to be missing."""
        self.config.weights_scope = scope
        names = self.state_dict() if state_dict is None else state_dict
        own = dict(zip(names, names, strict=True))
        if has_adapters(self):  # adapters are saved, too
            own = without_adapters(names, self._shapes("this model", self.config))
        prefix, tied = f"{self.backbone_name}.", self.all_tied_weights_keys
        self._keys_to_ignore_on_save = {
            live
            for name, live in own.items()
            if (scope == "prompt" and name.startswith(prefix))
            or (name in tied and names[live].data_ptr() == names[own[tied[name]]].data_ptr())
        }

    def add_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Add a PEFT adapter, as in transformers. It is saved with the model."""
        super().add_adapter(*args, **kwargs)
        self._set_weights_scope(self.config.weights_scope)

    def delete_adapter(self, adapter_names: list[str] | str) -> None:
        """Delete PEFT adapters, as in transformers."""
        super().delete_adapter(adapter_names)
        self._set_weights_scope(self.config.weights_scope)

    @contextmanager
    def _saving(
        self, save_backbone: bool | None, state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> Iterator[None]:
        """Set the scope for one save. `None` keeps the scope of the loaded model, unless the backbone has changed.

        Args:
            save_backbone: as for `save_pretrained`.
            state_dict: state dict of the model if it is sharded over processes.
        """
        before = self.config.weights_scope
        scope: Literal["prompt", "full"] = "full" if save_backbone else "prompt"
        scope = before if save_backbone is None else scope
        if scope == "prompt" and (reason := self._why_not_prompt(save_backbone is None, state_dict)) is not None:
            if save_backbone is False:
                raise ValueError(
                    f"{reason}, so a prompt alone could not be loaded as this model again. Save with "
                    "save_backbone=True."
                )
            scope = "full"
            if not self._warned_of_backbone:
                self._warned_of_backbone = True
                size = sum(tensor.nbytes for tensor in (state_dict or self.state_dict()).values())
                logger.warning(
                    f"{reason}. From now on, checkpoints of this model also contain the backbone, "
                    f"{size / 1000000.0:,.1f} MB each, as with save_backbone=True."
                )
        self._set_weights_scope(scope, state_dict)
        try:
            yield
        finally:
            self._set_weights_scope(before, state_dict)

    def _why_not_prompt(self, or_trainable: bool, state_dict: Mapping[str, torch.Tensor] | None) -> str | None:
        """Return why the learned tensors are not enough to load this model again, or `None` if they are.

        Args:
            or_trainable: whether a trainable backbone counts as changed, so that all checkpoints of a run hold the
                same tensors.
            state_dict: state dict of the model if it is sharded over processes.
        """
        if self.config.base_model_name_or_path is None or self._trains_backbone():
            return (
                "The backbone of this model is in no other folder or repository (it was trained, or created "
                "from a configuration)"
            )
        prefix = f"{self.backbone_name}."
        if state_dict is None:
            weights = dict(self.backbone.state_dict())
        else:
            weights = {name.removeprefix(prefix): each for name, each in state_dict.items() if name.startswith(prefix)}
        names = self._base_digests or self._weights_of_base()
        own = without_adapters(weights, names)
        own_parameters = without_adapters(dict(self.backbone.named_parameters()), names).values()
        parameters = dict(self.backbone.named_parameters())
        if or_trainable and any(parameters[live].requires_grad for live in own_parameters):
            return "Weights of the backbone of this model are trainable (requires_grad)"
        if self._is_base({name: weights[live] for name, live in own.items()}):
            return None
        base = self.config.base_model_name_or_path
        return f"The backbone of this model differs from the one in {base!r}, because its weights were changed"

    def _is_base(self, weights: Mapping[str, torch.Tensor]) -> bool:
        """Return whether the backbone's weights equal those that a prompt-only checkpoint would load."""
        if self._base_digests is not None:
            digests = digest_backbone(weights)
            if digests == self._base_digests:
                return True
            if {name: dtype for name, (dtype, _) in digests.items()} == {
                name: dtype for name, (dtype, _) in self._base_digests.items()
            }:
                return False
        base = self._weights_of_base()
        if base.keys() != weights.keys():
            return False
        return digest_backbone(weights) == digest_backbone({n: t.to(weights[n].dtype) for n, t in base.items()})

    def _weights_of_base(self) -> dict[str, torch.Tensor]:
        """Return the backbone's weights that a prompt-only checkpoint would load; empty if loading fails.

        The Hub is not contacted, because the loaded files are in the cache.
        """
        config = copy.deepcopy(self.config)
        base, revision = str(config.base_model_name_or_path), config.base_model_revision
        try:
            with torch.random.fork_rng(devices=[]):  # building the other parts would advance it
                backbone = self.load_backbone(base, dtype="auto", revision=revision, local_files_only=True)
                return dict(type(self)(config, backbone=backbone).backbone.state_dict())
        except OSError:
            return {}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        save_backbone: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write `config.json`, the processor, the learned tensors and PEFT adapters to a folder.

        A backbone whose weights differ from its base model (trained, merged with an adapter, resized, changed in
        place) is also written, with a warning that reports the size. Files are written to a temporary folder and moved
        into place, so that a crash leaves earlier files intact.

        Args:
            save_directory: the folder, created if needed.
            save_backbone: `True` includes the backbone, so that the folder is self-contained. `False` leaves it out,
                and raises an error if the model could not be restored without it. By default, the scope is that of
                the loaded checkpoint, prompt-only after `from_backbone`, and a trained or changed backbone is always
                saved.
            push_to_hub: whether to upload the checkpoint after saving, as in transformers.
            kwargs: keyword arguments of transformers' `save_pretrained`.

        Raises:
            ValueError: if the model could not be loaded again as it is.
        """
        base = self.config.base_model_name_or_path
        place = None if base is None else locate_backbone(base, self.packaged_backbone)
        folders = [path for path in (place, save_directory) if path is not None and os.path.isdir(path)]
        if len(folders) == 2 and os.path.samefile(*folders):
            raise ValueError(
                f"{base!r} is the folder of the backbone, which saving would overwrite. Pass another folder."
            )
        if not kwargs.get("is_main_process", True):  # other processes write no file and may have no weights
            super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
            return
        with self._saving(save_backbone, kwargs.get("state_dict")):
            super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def _save_extra_files(self, folder: Path) -> None:
        if self.lora_updates is None:
            return
        if self.config.weights_scope == "full":
            raise ValueError(
                "The LoRA updates of the backbone of this model are not merged into its weights. Load the "
                "model from where it was saved, which merges them, and save that with save_backbone=True."
            )
        self.lora_updates.write(folder, self.config.base_model_name_or_path)
