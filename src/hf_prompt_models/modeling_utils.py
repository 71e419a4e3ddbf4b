"""What every prompt method's model does the same way: freezing, and checkpoints that hold what was learned."""

import copy
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from huggingface_hub import CommitInfo, ModelCard
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoProcessor, GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.models.auto import modeling_auto
from transformers.utils import SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.data.files import list_directory, locked, move_files, naming_what_fails, staging, sync
from hf_prompt_models.fingerprint import check_fingerprint, compute_fingerprint
from hf_prompt_models.hub.model_card import (
    CARD_FILE,
    Checkpoint,
    RunOnCard,
    is_generated,
    make_card,
    read_card,
)
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.hub.repository import (
    cached_commit,
    create_repository,
    newest_commit,
    published_card,
    upload_checkpoint,
)
from hf_prompt_models.hub.shim import write_shim
from hf_prompt_models.lora import CONFIG_FILE as LORA_CONFIG_FILE
from hf_prompt_models.lora import LoraUpdates, find_lora, merge_lora, move_lora_for_hub
from hf_prompt_models.packaged_backbones import PLAYGROUND, locate_backbone, portable_name
from hf_prompt_models.untrusted_checkpoints import check_config, check_weights, reading


BASE_MODEL_FIELDS = ("base_model_name_or_path", "base_model_revision", "base_model_fingerprint")
HUB_KWARGS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


class CompletePreTrainedModel(PreTrainedModel):
    """Base of all models here: a saved folder is complete, and whole at every moment."""

    processor: ProcessorMixin | None = None
    """Saved with the model, so that a folder is complete for `pipeline()`. Found at saving if it is `None`."""
    pipeline_task: ClassVar[str | None] = None
    """The task whose pipeline runs such a model, for its model card."""
    accepts_loss_kwargs = False
    """For the Trainer: losses are means over the batch, which `num_items_in_batch` does not enter."""

    def passed_on_keywords(self) -> frozenset[str]:
        """Further keyword arguments of `forward`, which it passes on to a part of the model."""
        return frozenset()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """As in transformers, but weights are read from safetensors alone, which is what `save_pretrained` writes.

        Raises:
            OSError: if files are missing or damaged.
            ValueError: if the weights are not those of the model that the configuration describes.
        """
        path = pretrained_model_name_or_path
        try:
            if path is not None:
                kwargs.setdefault("use_safetensors", True)
                cls._check_folder(path, kwargs)
            return super().from_pretrained(path, *model_args, **kwargs)
        except SafetensorError as error:
            raise OSError(f"Weights in {str(path)!r} are damaged ({error}): copy or save them again.") from error

    @classmethod
    def _check_folder(cls, path: str | os.PathLike, kwargs: Mapping[str, Any]) -> None:
        """Refuse a folder whose weights are not those of the model that its configuration describes."""
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        config = kwargs.get("config")
        if not isinstance(config, PreTrainedConfig):
            own = {field.name for field in fields(cls.config_class)} - {"dtype"}
            given = {name: value for name, value in kwargs.items() if name in own}
            config = cls.config_class.from_pretrained(config or path, **hub_kwargs, **given)
        # Quantised weights have shapes of their own.
        quantised = kwargs.get("quantization_config") or config.to_dict().get("quantization_config")
        if not kwargs.get("ignore_mismatched_sizes") and not quantised:
            check_weights(cls._shapes(path, config), path, hub_kwargs)

    @classmethod
    def _shapes(cls, path: str | os.PathLike, config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
        """Of the tensors that a configuration describes, by name; they are laid out without memory."""
        with reading(path, "config.json"), torch.device("meta"):
            # A copy: building a model writes its choice of attention into the configuration, and the backbone's own
            # class may still be to make one.
            model = cls(copy.deepcopy(config))
            return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def save_pretrained(self, save_directory: str | os.PathLike, *, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write `config.json`, the processor and the weights to a folder.

        Files are written beside and moved into place, so that a crash leaves the earlier ones whole.

        Args:
            save_directory: the folder, made if needed.
            push_to_hub, kwargs: as in transformers.

        Raises:
            OSError: if the disk is full, the folder is read-only, …
        """
        directory = Path(save_directory)
        if directory.is_file():
            raise ValueError(f"Cannot save into {str(directory)!r}: it is a file, not a folder.")
        if push_to_hub:
            raise ValueError("Save first, then call push_to_hub(repo_id) on the model.")
        kwargs.setdefault("save_original_format", False)  # a part's older names would not be ours
        self.config.__dict__.pop("auto_map", None)  # of a repository that this came from; its module is not saved
        with naming_what_fails(f"save the model into {str(directory)!r}"):
            directory.mkdir(parents=True, exist_ok=True)
            with staging(directory) as folder:
                super().save_pretrained(folder, **kwargs)
                if kwargs.get("is_main_process", True) and (processor := self._find_processor()) is not None:
                    processor.save_pretrained(folder)
                if kwargs.get("is_main_process", True):
                    self._save_beside(folder)
                written = {file.name for file in folder.iterdir()}
                for name in written:
                    sync(folder / name)
                # One process after the other: each would take the other's weights for an earlier save's.
                with locked(directory, wait=True):
                    move_files(folder, directory)
                    if written:  # on the main process: an earlier save's other weights files would be stale
                        for stale in list_directory(directory, "model*.safetensors*"):
                            if stale.name not in written:
                                stale.unlink(missing_ok=True)
                sync(directory)

    def _save_beside(self, folder: Path) -> None:
        """Write what a checkpoint has beside its weights."""

    def _arrange_for_hub(self, folder: Path) -> None:
        """Change a saved folder into what goes up."""

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Nothing: transformers would copy this package's source into saved folders; `push_to_hub(with_shim=True)`."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        with_shim: bool = False,
        model_card: ModelCard | None = None,
        license: str | None = None,
        tags: Sequence[str] = (),
        private: bool | None = None,
        token: bool | str | None = None,
        revision: str | None = None,
        max_shard_size: int | str = "50GB",
        **commit: Any,
    ) -> CommitInfo:
        """Upload the checkpoint, with its processor and its model card, in one commit.

        A card that somebody has written or changed stays as it is. One that this package wrote is written anew; what
        it says of a training run is kept.

        Args:
            repo_id: where to; made if needed.
            with_shim: add two lines of code, so that `trust_remote_code=True` loads the class from the installed
                package, or says what to install, for people who have not imported it.
            model_card: instead of the one in the folder that the model was loaded from.
            license: of the weights, for the card.
            tags: for the card.
            private: whether a new repository is; default: as the owner has set.
            token: instead of the one that is logged in.
            revision: branch; made if needed.
            max_shard_size: as in `save_pretrained`.
            commit: `commit_message`, `commit_description`, `create_pr`.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            self._arrange_for_hub(folder)
            if with_shim:
                write_shim(folder, type(self).__module__.partition(".")[0], self._auto_classes())
            repo_id = create_repository(repo_id, token, private, revision)
            ours = model_card or read_card(Path(self.name_or_path, CARD_FILE))
            theirs = published_card(repo_id, token, revision)
            written = [card for card in (ours, theirs) if card is not None and not is_generated(card)]
            run = RunOnCard.from_card(ours) if ours is not None else None
            tags = [*tags, *(self.model_tags or ())]
            card = written[0] if written else make_card(self.describe_checkpoint(), repo_id, run, license, tags)
            card.save(folder / CARD_FILE)
            commit.setdefault("commit_message", "Upload model")
            return upload_checkpoint(folder, repo_id, token=token, revision=revision, **commit)

    def check_push(self) -> None:
        """Refuse what `push_to_hub` would refuse, without a Hub."""

    def describe_checkpoint(self) -> Checkpoint:
        """What the next checkpoint holds, for its model card."""
        config = self.config
        base = config.base_model_name_or_path
        on_hub = base is not None and base != PLAYGROUND and not os.path.isabs(base)
        names = config.class_names
        unnamed = names == [f"LABEL_{index}" for index in range(len(names))]
        return Checkpoint(
            method=self._method(),
            class_name=type(self).__name__,
            pipeline_tag=self.pipeline_task,
            scope=config.weights_scope,
            num_learned=sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad),
            base_model=base if on_hub else None,
            base_model_revision=config.base_model_revision if on_hub else None,
            class_names=() if unnamed else names,
        )

    @classmethod
    def _method(cls) -> str:
        """The folder, under `models/`, of the method that a class belongs to or derives from."""
        modules = (each.__module__.split(".") for each in cls.__mro__)
        return next(parts[2] for parts in modules if parts[:2] == ["hf_prompt_models", "models"])

    def _auto_classes(self) -> dict[str, str]:
        """Names of the classes that load a checkpoint of this model, by those of the Auto classes that find them."""
        own = type(self)
        classes = {"AutoConfig": type(self.config).__name__}
        for name, auto_class in vars(modeling_auto).items():
            if name.startswith("AutoModel") and auto_class._model_mapping is not None:
                registered = auto_class._model_mapping.get(type(self.config), ())
                if own is registered or own in (registered if isinstance(registered, tuple) else ()):
                    classes[name] = own.__name__
        processor = self._find_processor()
        return classes if processor is None else classes | {"AutoProcessor": type(processor).__name__}

    def _find_processor(self) -> ProcessorMixin | None:
        if self.processor is None and self.name_or_path:
            try:
                self.processor = AutoProcessor.from_pretrained(self.name_or_path)
            except OSError:  # the folder that the model came from has no processor
                return None
        return self.processor


class PromptPreTrainedModel(CompletePreTrainedModel):
    """Base of the models of prompt methods: a borrowed backbone, frozen unless it says otherwise, and learned tensors.

    A subclass names its backbone and takes it in `__init__(self, config, backbone=None)`; without one it builds the
    backbone from its configuration. Whatever is not under the backbone's attribute is what was learned.

    Checkpoints hold the learned tensors alone (`weights_scope: "prompt"`, the backbone is loaded from
    `base_model_name_or_path`), or everything (`"full"`). Which of the two is said by the configuration, never guessed
    from missing keys.
    """

    config: PromptConfig
    backbone_classes: ClassVar[tuple[type[PreTrainedModel], ...]]
    backbone_name: ClassVar[str]
    packaged_backbone: ClassVar[str]
    """Folder of the backbone that the name "playground" stands for."""
    lora_updates: LoraUpdates | None = None
    """Of the backbone (`hf_prompt_models.lora`): not in its weights, and beside them in checkpoints."""

    @property
    def backbone(self) -> PreTrainedModel:
        return getattr(self, self.backbone_name)

    @classmethod
    def backbone_config_name(cls) -> str:
        """The configuration's field that holds the backbone's."""
        return f"{cls.backbone_name}_config"

    # -- frozen means frozen -----------------------------------------------------------------------------------------

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of the backbone that are trained with the prompt. None, unless a subclass names some."""
        return ()

    def freeze_backbone(self) -> None:
        """Stop gradients into the backbone, but for `trained_backbone_parameters`.

        Called again after loading: transformers 5 un-freezes what it loads.
        """
        self.backbone.requires_grad_(False)
        for parameter in self.trained_backbone_parameters():
            parameter.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but frozen towers of the backbone stay in eval mode, whatever the Trainer calls."""
        super().train(mode)
        for part in (self.backbone, *self.backbone.children()):
            if {parameter.requires_grad for parameter in part.parameters()} == {False}:
                part.eval()
        return self

    def _trains_backbone(self) -> bool:
        return any(True for _ in self.trained_backbone_parameters())

    def _own_trained_backbone(self) -> None:
        """A backbone that is trained becomes another: from now on weights files hold it, and name no base."""
        scope = self.config.weights_scope
        if self._trains_backbone():
            self.config.update(dict.fromkeys(BASE_MODEL_FIELDS))
            scope = "full"
        self._set_weights_scope(scope)

    # -- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Names of small tensors by which this backbone is told from another."""
        raise NotImplementedError

    @classmethod
    def _for_backbone(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments for the backbone's `from_pretrained`: of an `attn_implementation` by parts, its own part."""
        attention = kwargs.get("attn_implementation")
        if isinstance(attention, dict):
            return kwargs | {"attn_implementation": attention.get(cls.backbone_config_name())}
        return kwargs

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the borrowed backbone; `kwargs` go to its `from_pretrained`.

        Args:
            name_or_path: Hub id, folder, or "playground" for the one that ships with the package.
            kwargs: `revision`, `token`, `dtype`, ….

        Raises:
            OSError: if there is no such backbone.
            TypeError: if it is not of a type that the method can use.
        """
        name_or_path = locate_backbone(name_or_path, cls.packaged_backbone)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        check_reachable(name_or_path, **hub_kwargs)
        known = {model_class.config_class.model_type: model_class for model_class in cls.backbone_classes}
        config_dict, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub_kwargs)
        with reading(name_or_path, "config.json"):
            check_config(config_dict)
        model_type = config_dict.get("model_type", next(iter(known)))
        if model_type not in known:
            listed = ", ".join(f"{name!r} ({model_class.__name__})" for name, model_class in known.items())
            raise TypeError(
                f"The backbone {str(name_or_path)!r} is of type {model_type!r}, whose text tower {cls.__name__} does "
                f"not know: it takes checkpoints of {listed}."
            )
        try:
            return known[model_type].from_pretrained(name_or_path, **cls._for_backbone(kwargs))
        except SafetensorError as error:
            raise OSError(f"The weights of the backbone {str(name_or_path)!r} are damaged ({error}).") from error

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *model_args: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a checkpoint; a prompt-only one brings its backbone from `config.base_model_name_or_path`.

        Takes what transformers' `from_pretrained` takes (`dtype`, `device_map`, `attn_implementation`, …, handed to
        the backbone) and fields of the configuration: `base_model_name_or_path=...` says where the backbone is now.

        Raises:
            OSError: if files are missing or damaged.
            ValueError: if the prompt or the backbone does not fit the configuration.
        """
        path = pretrained_model_name_or_path
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        if path is not None and not isinstance(config, PreTrainedConfig):
            config = cls.config_class.from_pretrained(config or path, **hub_kwargs)
            if "base_model_name_or_path" in kwargs:
                kwargs.setdefault("base_model_revision", None)  # the old place's
            for field in fields(cls.config_class):
                if field.name in kwargs and field.name != "dtype":
                    value = kwargs.pop(field.name)
                    setattr(config, field.name, os.fspath(value) if isinstance(value, os.PathLike) else value)
        if path is not None and isinstance(config, PromptConfig) and config.weights_scope == "prompt":
            loaded = cls._from_prompt_checkpoint(path, config, hub_kwargs, **kwargs)
        else:
            loaded = super().from_pretrained(path, *model_args, config=config, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.freeze_backbone()
        model._own_trained_backbone()
        return loaded

    @classmethod
    def _from_prompt_checkpoint(
        cls,
        path: str | os.PathLike,
        config: PromptConfig,
        hub_kwargs: dict[str, Any],
        output_loading_info: bool = False,
        ignore_mismatched_sizes: bool = False,
        adapter_kwargs: dict | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load the backbone through its own `from_pretrained`, then the learned tensors.

        With low-rank updates of the backbone (`hf_prompt_models.lora`) beside them, these are added to its weights.

        `ignore_mismatched_sizes` and `adapter_kwargs`, which the Auto classes pass, do not apply here.
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
        prompt = cls._read_prompt(path, config, hub_kwargs)
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
        config.base_model_revision = cached_commit(locate_backbone(base, cls.packaged_backbone), kwargs)
        if config.base_model_fingerprint is not None:
            with reading(path, "config.json"):
                check_fingerprint(backbone.state_dict(), config.base_model_fingerprint, str(base), str(path))
        if (updates := find_lora(path, **hub_kwargs)) is not None:
            with reading(path, LORA_CONFIG_FILE):
                merge_lora(backbone, path, updates, **hub_kwargs)
            # It is another backbone now, which no base names.
            config.update(dict.fromkeys(BASE_MODEL_FIELDS))
        model = cls._from_parts(config, backbone, prompt, attention)
        if updates is not None:
            model._set_weights_scope("full")
        model.name_or_path = str(path)
        if model.can_generate():
            model.generation_config = GenerationConfig.from_pretrained(path, **hub_kwargs)
        if output_loading_info:
            empty: dict[str, set] = {key: set() for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
            return model, {**empty, "error_msgs": []}
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
        model.freeze_backbone()
        model._own_trained_backbone()
        return model.eval()

    @classmethod
    def _read_prompt(
        cls, path: str | os.PathLike, config: PromptConfig, hub_kwargs: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        """Read the learned tensors after checking names and shapes against the configuration."""
        shapes = cls._shapes(path, config)
        expected = {name: shape for name, shape in shapes.items() if not name.startswith(f"{cls.backbone_name}.")}
        if not expected:
            return {}
        file = cached_file(path, SAFE_WEIGHTS_NAME, **hub_kwargs)
        try:
            with safe_open(file, framework="pt") as weights:
                found = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
                if found != expected:
                    raise ValueError(
                        f"{file} does not hold what its config.json describes: found {found}, expected {expected}."
                    )
                return {name: weights.get_tensor(name) for name in expected}
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

    def _set_weights_scope(self, scope: Literal["prompt", "full"]) -> None:
        """Say what the next checkpoint holds. The Trainer, resuming, expects just the ignored keys to be missing."""
        self.config.weights_scope = scope
        prefix = f"{self.backbone_name}."
        tied = self.all_tied_weights_keys
        self._keys_to_ignore_on_save = {
            name for name in self.state_dict() if name in tied or (scope == "prompt" and name.startswith(prefix))
        }

    @contextmanager
    def _saving(self, save_backbone: bool | None) -> Iterator[None]:
        """Set the scope for one save; `None` keeps the one that the model came with."""
        before = self.config.weights_scope
        scope: Literal["prompt", "full"] = "full" if save_backbone else "prompt"
        scope = before if save_backbone is None else scope
        if scope == "prompt" and (self.config.base_model_name_or_path is None or self._trains_backbone()):
            raise ValueError(
                "This model's backbone is in no other folder or repository (it was trained, or made from a "
                "configuration), so a prompt alone could not be loaded again: save with save_backbone=True."
            )
        self._set_weights_scope(scope)
        try:
            yield
        finally:
            self._set_weights_scope(before)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        save_backbone: bool | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write `config.json`, the processor and the learned tensors to a folder.

        Files are written beside and moved into place, so that a crash leaves the earlier ones whole.

        Args:
            save_directory: the folder, made if needed.
            save_backbone: `True` adds the backbone, for a folder that needs nothing else; `False` leaves it out.
                Default: as the model was loaded, and prompt-only after `from_backbone`; a backbone that is trained is
                always saved.
            push_to_hub, kwargs: as in transformers.
        """
        base = self.config.base_model_name_or_path
        place = None if base is None else locate_backbone(base, self.packaged_backbone)
        folders = [path for path in (place, save_directory) if path is not None and os.path.isdir(path)]
        if len(folders) == 2 and os.path.samefile(*folders):
            raise ValueError(
                f"{base!r} is the folder of the backbone itself, which saving would overwrite: name another."
            )
        with self._saving(save_backbone):
            super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    def push_to_hub(
        self, repo_id: str, *, base_model: str | None = None, save_backbone: bool | None = None, **kwargs: Any
    ) -> CommitInfo:
        """Upload the checkpoint, with its processor and its model card, in one commit.

        Args:
            repo_id: where to; made if needed.
            base_model: Hub id of the backbone, where it was loaded from a local folder.
            save_backbone: as in `save_pretrained`.
            kwargs: `with_shim`, `private`, `license`, …, as of [`CompletePreTrainedModel.push_to_hub`].

        Raises:
            ValueError: if the checkpoint would point to a folder of this machine.
        """
        config = self.config
        before = {name: getattr(config, name) for name in ("base_model_name_or_path", "base_model_revision")}
        with self._saving(save_backbone):
            self.check_push(base_model)
            base, commit = base_model or config.base_model_name_or_path, config.base_model_revision
            if base is not None and os.path.isabs(base):
                base = commit = None
            if base not in (None, PLAYGROUND) and (commit is None or base != config.base_model_name_or_path):
                commit = newest_commit(base, kwargs.get("token"))
            config.update({"base_model_name_or_path": base, "base_model_revision": commit})
            try:
                return super().push_to_hub(repo_id, **kwargs)
            finally:
                config.update(before)

    def _save_beside(self, folder: Path) -> None:
        if self.lora_updates is None:
            return
        if self.config.weights_scope == "full":
            raise ValueError(
                "The updates of this model's backbone (LoRA) are not in its weights: load it from where it was saved, "
                "which adds them, and save that with save_backbone=True."
            )
        self.lora_updates.write(folder, self.config.base_model_name_or_path)

    def _arrange_for_hub(self, folder: Path) -> None:
        if self.lora_updates is not None:
            move_lora_for_hub(folder)

    def describe_checkpoint(self) -> Checkpoint:
        checkpoint = super().describe_checkpoint()
        if self.lora_updates is None:
            return checkpoint
        count = sum(tensor.numel() for tensor in self.lora_updates.tensors.values())
        return replace(checkpoint, num_learned=checkpoint.num_learned + count, has_updates=True)

    def check_push(self, base_model: str | None = None) -> None:
        """Refuse what `push_to_hub` would refuse, without a Hub; `base_model` as there.

        Raises:
            ValueError: if the checkpoint would point to a folder of this machine.
        """
        base = base_model or self.config.base_model_name_or_path
        if self.config.weights_scope == "prompt" and base is not None and os.path.isabs(base):
            raise ValueError(
                f"The backbone of this prompt is a folder of this machine ({base}), which others do not have. "
                "Pass base_model='user/repository' if it is on the Hub, or save_backbone=True to upload it too."
            )

    def _init_weights(self, module: nn.Module) -> None:
        """Only for modules that a subclass owns; the backbone has its own rules."""
        raise NotImplementedError


def _attention_choices(config: PreTrainedConfig) -> dict[str, Any]:
    """The `attn_implementation` of a configuration and of its parts, as transformers takes it for all of them."""
    parts = {name: getattr(config, name) for name in config.sub_configs}
    return {"": config._attn_implementation} | {
        name: _attention_choices(part) for name, part in parts.items() if part is not None
    }
