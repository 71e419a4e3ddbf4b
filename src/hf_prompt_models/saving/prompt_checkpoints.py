"""Checkpoints over a borrowed backbone: what was learned alone, or with the backbone once it is another than its base.

What a checkpoint holds is decided by the live weights, not by the configuration. Digests of the backbone's weights
are taken when it is loaded and compared at saving, which costs as much as reading them once from memory (0.1 s for a
ViT-L). A backbone whose dtype was changed since is compared with its base, loaded again in the new one.
"""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME, logging
from transformers.utils.hub import cached_file

from hf_prompt_models.backbones.packaged import locate_backbone, portable_name
from hf_prompt_models.checkpoints.fingerprint import check_fingerprint, compute_fingerprint, digest_tensors
from hf_prompt_models.checkpoints.untrusted import reading
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.hub.repository import cached_commit
from hf_prompt_models.lora import CONFIG_FILE as LORA_CONFIG_FILE
from hf_prompt_models.lora import LoraUpdates, find_lora, merge_lora
from hf_prompt_models.saving.complete_checkpoints import CompleteCheckpoints, refuse_offloading
from hf_prompt_models.saving.peft_adapters import has_adapters, plain_name, without_adapters


logger = logging.get_logger(__name__)

BASE_MODEL_FIELDS = ("base_model_name_or_path", "base_model_revision", "base_model_fingerprint")
Digests = dict[str, tuple[torch.dtype, bytes]]


class PromptCheckpoints(CompleteCheckpoints):
    """Loading and saving of the models of prompt methods."""

    config: PromptConfig
    backbone_name: ClassVar[str]
    packaged_backbone: ClassVar[str]
    """Folder of the backbone that the name "playground" stands for."""
    lora_updates: LoraUpdates | None = None
    """Of the backbone (`hf_prompt_models.lora`): not in its weights, and beside them in checkpoints."""
    _base_digests: Digests | None = None
    """The backbone's weights as its base has them; `None` where they came from another place than the base."""
    _warned_of_backbone = False

    @property
    def backbone(self) -> PreTrainedModel:
        return getattr(self, self.backbone_name)

    @classmethod
    def backbone_config_name(cls) -> str:
        """The configuration's field that holds the backbone's."""
        return f"{cls.backbone_name}_config"

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Names of small tensors by which this backbone is told from another."""
        raise NotImplementedError

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the borrowed backbone."""
        raise NotImplementedError

    def freeze_backbone(self) -> None:
        """Stop gradients into the backbone."""
        raise NotImplementedError

    def _trains_backbone(self) -> bool:
        raise NotImplementedError

    # -- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a checkpoint; a prompt-only one brings its backbone from `config.base_model_name_or_path`.

        Takes what transformers' `from_pretrained` takes (`dtype`, `device_map`, `attn_implementation`, …, handed to
        the backbone) and fields of the configuration: `base_model_name_or_path=...` says where the backbone is now.
        Other class names (`id2label`) are tokenised, as `set_classes` does.

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
        # Of a complete checkpoint they are views of its file, at addresses at which products are rounded otherwise.
        for name, module in self.named_children():
            if name != self.backbone_name:
                for parameter in module.parameters():
                    parameter.data = parameter.data.clone()
        self.freeze_backbone()
        self._own_trained_backbone()

    def _own_trained_backbone(self) -> None:
        """A backbone that is trained becomes another: from now on weights files hold it, and name no base."""
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
        """Load the backbone through its own `from_pretrained`, then the learned tensors.

        With low-rank updates of the backbone (`hf_prompt_models.lora`) beside them, these are added to its weights.
        `adapters` of PEFT are loaded later, by the caller.
        """
        base = config.base_model_name_or_path
        if base is None:
            raise ValueError(
                f"{str(path)!r} holds a prompt alone (weights_scope='prompt') and does not say for which backbone: "
                "pass base_model_name_or_path=..., a Hub id or a folder."
            )
        base = config.base_model_name_or_path = portable_name(base, cls.packaged_backbone)
        if os.path.isabs(base) and not os.path.isdir(base):
            raise OSError(
                f"{str(path)!r} was learned for the backbone in {base!r}, which is not there. Pass "
                "base_model_name_or_path=... to say where it is now; save_pretrained(..., save_backbone=True) writes "
                "folders that need none."
            )
        prompt, new = cls._read_prompt(path, config, hub_kwargs, bool(adapters), ignore_mismatched_sizes)
        for name in ("revision", "subfolder"):  # those of the prompt's own repository
            kwargs.pop(name, None)
        if kwargs.get("dtype", kwargs.get("torch_dtype", "auto")) == "auto" and config.dtype is not None:
            kwargs["dtype"] = config.dtype  # that of the model that was saved, whatever the backbone's on disk
        if (attention := kwargs.pop("attn_implementation", None)) is not None:
            config._attn_implementation = attention  # where the Auto classes leave the argument, for all parts
        backbone_field = cls.backbone_config_name()
        kwargs["attn_implementation"] = {backbone_field: _attention_choices(getattr(config, backbone_field))}
        if config.base_model_revision is not None:
            kwargs["revision"] = config.base_model_revision
        try:
            backbone = cls.load_backbone(base, **kwargs)
        except OSError as error:
            raise OSError(f"{str(path)!r} was learned for a backbone that cannot be loaded: {error}") from error
        refuse_offloading(backbone)
        config.base_model_revision = cached_commit(locate_backbone(base, cls.packaged_backbone), kwargs)
        if config.base_model_fingerprint is not None:
            with reading(path, "config.json"):
                check_fingerprint(backbone.state_dict(), config.base_model_fingerprint, str(base), str(path))
        if (updates := None if adapters else find_lora(path, **hub_kwargs)) is not None:
            with reading(path, LORA_CONFIG_FILE):
                merge_lora(backbone, path, updates, **hub_kwargs)
            # It is another backbone now, which no base names.
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
        """Put a model together from a loaded backbone and learned tensors; tensors not given are initialised.

        `attention` is the `attn_implementation` that was asked for, of which the backbone has its part already.
        """
        # The very object that the backbone reads; set late, for a new configuration resets its parts' attention.
        setattr(config, cls.backbone_config_name(), backbone.config)
        backbone.config.name_or_path = ""  # said once, in base_model_name_or_path; a full checkpoint need not name it
        if attention is not None:
            config._attn_implementation = attention
        model = cls(config, backbone=backbone)
        own = [module for name, module in model.named_children() if name != cls.backbone_name]
        for module in own:  # what is learned is never in half precision, and as the backbone where that is in double
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
            The tensors, and the names of those that are to be initialised: only with `ignore_mismatched_sizes`.
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
                        f"{file} does not hold what its config.json describes: found {found}, expected {expected}."
                    )
                if new:
                    logger.warning(
                        f"{len(new)} tensors are missing in {file}, or have other shapes there, and are initialised: "
                        f"{', '.join(sorted(new))}. Train the model before you use it."
                    )
                return {name: weights.get_tensor(names[name]) for name in expected.keys() - new}, new
        except SafetensorError as error:
            raise OSError(f"{file} is damaged ({error}): copy or save it again.") from error

    @classmethod
    def _base_model_fields(
        cls, name_or_path: str | os.PathLike, backbone: PreTrainedModel, hub_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The configuration fields that say which backbone a prompt was learned for, by its `portable_name`.

        `hub_kwargs` are those that it was loaded with; what they name is written down as the commit that it was.
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
        """Set what the next checkpoint holds. The Trainer, resuming, expects just the ignored keys to be missing."""
        self.config.weights_scope = scope
        names = self.state_dict() if state_dict is None else state_dict
        own = dict(zip(names, names, strict=True))
        if has_adapters(self):  # which are saved, too
            own = without_adapters(names, self._shapes("this model", self.config))
        prefix, tied = f"{self.backbone_name}.", self.all_tied_weights_keys
        self._keys_to_ignore_on_save = {
            live
            for name, live in own.items()
            if (scope == "prompt" and name.startswith(prefix))
            or (name in tied and names[live].data_ptr() == names[own[tied[name]]].data_ptr())
        }

    def add_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Add a PEFT adapter, as in transformers; it is saved with the model."""
        super().add_adapter(*args, **kwargs)
        self._set_weights_scope(self.config.weights_scope)

    def delete_adapter(self, adapter_names: list[str] | str) -> None:
        super().delete_adapter(adapter_names)
        self._set_weights_scope(self.config.weights_scope)

    @contextmanager
    def _saving(
        self, save_backbone: bool | None, state_dict: Mapping[str, torch.Tensor] | None = None
    ) -> Iterator[None]:
        """Set the scope for one save; `None` keeps the one that the model came with, unless the backbone changed.

        Args:
            save_backbone: as of `save_pretrained`.
            state_dict: of the model, where it is sharded over processes.
        """
        before = self.config.weights_scope
        scope: Literal["prompt", "full"] = "full" if save_backbone else "prompt"
        scope = before if save_backbone is None else scope
        if scope == "prompt" and (reason := self._why_not_prompt(save_backbone is None, state_dict)) is not None:
            if save_backbone is False:
                raise ValueError(
                    f"{reason}: a prompt alone could not be loaded again as this model. Save with save_backbone=True."
                )
            scope = "full"
            if not self._warned_of_backbone:
                self._warned_of_backbone = True
                size = sum(tensor.nbytes for tensor in (state_dict or self.state_dict()).values())
                logger.warning(
                    f"{reason}: checkpoints of this model hold it too from now on, {size / 1e6:,.1f} MB each, as with "
                    "save_backbone=True."
                )
        self._set_weights_scope(scope, state_dict)
        try:
            yield
        finally:
            self._set_weights_scope(before, state_dict)

    def _why_not_prompt(self, or_trainable: bool, state_dict: Mapping[str, torch.Tensor] | None) -> str | None:
        """Why the learned tensors alone would not bring this model back; `None` where they would.

        Args:
            or_trainable: whether a backbone that can be trained counts as changed, so that the checkpoints of one run
                all hold the same.
            state_dict: of the model, where it is sharded over processes.
        """
        if self.config.base_model_name_or_path is None or self._trains_backbone():
            return (
                "This model's backbone is in no other folder or repository (it was trained, or made from a "
                "configuration)"
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
            return "Weights of this model's backbone are set to be trained (requires_grad)"
        if self._is_base({name: weights[live] for name, live in own.items()}):
            return None
        base = self.config.base_model_name_or_path
        return f"This model's backbone is no longer the one in {base!r}: its weights were changed"

    def _is_base(self, weights: Mapping[str, torch.Tensor]) -> bool:
        """Whether the backbone's weights are those that a prompt-only checkpoint would bring."""
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
        """The backbone's weights as loading a prompt-only checkpoint would bring them; none where that fails.

        No Hub is asked: what was loaded is in the cache.
        """
        config = copy.deepcopy(self.config)
        base, revision = str(config.base_model_name_or_path), config.base_model_revision
        try:
            with torch.random.fork_rng(devices=[]):  # which making the parts beside the backbone would advance
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

        A backbone whose weights are not those of its base any more (trained, merged with an adapter, resized, changed
        in place) is written too, with a warning that gives the size. Files are written beside and moved into place,
        so that a crash leaves the earlier ones whole.

        Args:
            save_directory: the folder, made if needed.
            save_backbone: `True` adds the backbone, for a folder that needs nothing else; `False` leaves it out, and
                is refused where that would lose something. Default: as the model was loaded, and prompt-only after
                `from_backbone`; a backbone that is trained or changed is always saved.
            push_to_hub, kwargs: as in transformers.

        Raises:
            ValueError: if the model could not be loaded again as it is.
        """
        base = self.config.base_model_name_or_path
        place = None if base is None else locate_backbone(base, self.packaged_backbone)
        folders = [path for path in (place, save_directory) if path is not None and os.path.isdir(path)]
        if len(folders) == 2 and os.path.samefile(*folders):
            raise ValueError(
                f"{base!r} is the folder of the backbone itself, which saving would overwrite: name another."
            )
        if not kwargs.get("is_main_process", True):  # it writes no file, and may have no weights
            super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
            return
        with self._saving(save_backbone, kwargs.get("state_dict")):
            super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def _save_beside(self, folder: Path) -> None:
        if self.lora_updates is None:
            return
        if self.config.weights_scope == "full":
            raise ValueError(
                "The updates of this model's backbone (LoRA) are not in its weights: load it from where it was saved, "
                "which adds them, and save that with save_backbone=True."
            )
        self.lora_updates.write(folder, self.config.base_model_name_or_path)


def digest_backbone(weights: Mapping[str, torch.Tensor]) -> Digests:
    """Return the dtype and a digest of the values of each of a backbone's weights, by the names without adapters."""
    digests = digest_tensors(weights)
    return {plain_name(name): (tensor.dtype, digests[name]) for name, tensor in weights.items()}


def _attention_choices(config: PreTrainedConfig) -> dict[str, Any]:
    """The `attn_implementation` of a configuration and of its parts, as transformers takes it for all of them."""
    parts = {name: getattr(config, name) for name in config.sub_configs}
    return {"": config._attn_implementation} | {
        name: _attention_choices(part) for name, part in parts.items() if part is not None
    }
