"""Base classes of the models of all prompt methods: freezing, publishing, and (in their bases) saving and loading."""

import copy
import inspect
import os
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from huggingface_hub import CommitInfo, ModelCard
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

from hf_prompt_models.backbones.clip_checkpoints import is_open_clip, read_clip_checkpoint
from hf_prompt_models.backbones.packaged import PLAYGROUND, locate_backbone
from hf_prompt_models.checkpoints.untrusted import check_config, reading
from hf_prompt_models.hub.model_card import (
    CARD_FILE,
    Checkpoint,
    RunOnCard,
    card_text,
    is_generated,
    make_card,
    read_card,
)
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.hub.repository import (
    create_repository,
    newest_commit,
    published_card,
    upload_checkpoint,
)
from hf_prompt_models.hub.shim import write_shim
from hf_prompt_models.saving.complete_checkpoints import HUB_KWARGS, CompleteCheckpoints
from hf_prompt_models.saving.prompt_checkpoints import PromptCheckpoints
from hf_prompt_models.utils.parameters import own_weights


_LOADED: ContextVar[dict[Hashable, PreTrainedModel] | None] = ContextVar("loaded backbones", default=None)


@contextmanager
def loaded_backbones(kept: dict[Hashable, PreTrainedModel]) -> Iterator[None]:
    """Load every backbone once: further models in this context share the weights of what was loaded.

    Weights that a model trains are its own.

    Args:
        kept: Loaded backbones of earlier contexts, to which new ones are added.
    """
    token = _LOADED.set(kept)
    try:
        yield
    finally:
        _LOADED.reset(token)


class CompletePreTrainedModel(CompleteCheckpoints):
    """Base class of all models of this package, whose saved folders are complete at every moment of a save."""

    pipeline_task: ClassVar[str | None] = None
    """Task of the pipeline that runs the model, for its model card."""
    accepts_loss_kwargs = False
    """Whether the Trainer passes `num_items_in_batch`: it does not, because losses are means over the batch."""

    def passed_on_keywords(self) -> frozenset[str]:
        """Return further keyword arguments of `forward`, which it passes to a part of the model."""
        return frozenset()

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """No-op: transformers would copy the source code of this package. Use `push_to_hub(with_shim=True)`."""

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
        """Upload the checkpoint, its processor and its model card in one commit.

        A model card that a person wrote or changed is kept. A card that this package generated is generated again, and
        its information on the training run is kept.

        Args:
            repo_id: Hub id of the repository, which is created if it does not exist.
            with_shim: whether to add two lines of code for users who have not imported the package. With them,
                `trust_remote_code=True` loads the class from the installed package, or reports what to install.
            model_card: model card to upload. Default: the one in the folder that the model was loaded from.
            license: license of the weights, for the model card.
            tags: tags for the model card.
            private: whether a new repository is private. Default: the setting of the owner.
            token: access token. Default: that of the logged-in user.
            revision: branch, which is created if it does not exist.
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
        """Raise the errors that `push_to_hub` would raise, without access to the Hub."""

    def describe_checkpoint(self) -> Checkpoint:
        """Describe what the next checkpoint contains, for its model card."""
        config = self.config
        base = config.base_model_name_or_path
        on_hub = base is not None and base != PLAYGROUND and not os.path.isabs(base)
        names = config.class_names
        unnamed = names == [f"LABEL_{index}" for index in range(len(names))]
        return Checkpoint(
            method=self._method(),
            text=self._card_text(),
            class_name=type(self).__name__,
            pipeline_tag=self.pipeline_task,
            scope=config.weights_scope,
            num_learned=sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad),
            base_model=base if on_hub else None,
            base_model_revision=config.base_model_revision if on_hub else None,
            local_base=None if base is None or on_hub else Path(base).name,
            class_names=() if unnamed else names,
            is_packaged=base == PLAYGROUND,
        )

    @classmethod
    def _method(cls) -> str:
        """Return the name of the method, as in its configuration."""
        return cls.config_class.method_name()

    @classmethod
    def _card_text(cls) -> str:
        """Return the text for model cards: `model_card.md` of the method, or the first paragraph of the docstring."""
        own = Path(inspect.getfile(cls)).with_name("model_card.md")
        if own.is_file():
            return own.read_text(encoding="utf-8").strip()
        try:
            return card_text(cls._method())
        except FileNotFoundError:
            return inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\n\n")[0]

    def _auto_classes(self) -> dict[str, str]:
        """Return the names of the classes that load a checkpoint of this model, by the names of the Auto classes."""
        own = type(self)
        classes = {"AutoConfig": type(self.config).__name__}
        for name, auto_class in vars(modeling_auto).items():
            if name.startswith("AutoModel") and auto_class._model_mapping is not None:
                registered = auto_class._model_mapping.get(type(self.config), ())
                if own is registered or own in (registered if isinstance(registered, tuple) else ()):
                    classes[name] = own.__name__
        processor = self._find_processor()
        return classes if processor is None else classes | {"AutoProcessor": type(processor).__name__}


class PromptPreTrainedModel(PromptCheckpoints, CompletePreTrainedModel):
    """Base class of the models of prompt methods: a pretrained backbone, frozen by default, and trained tensors.

    A subclass declares its backbone and accepts one in `__init__(self, config, backbone=None)`. Without one it builds
    the backbone from its configuration. All tensors outside of the backbone's attribute are trained tensors.

    Checkpoints contain only the trained tensors (`weights_scope: "prompt"`; the backbone is loaded from
    `base_model_name_or_path`), or all tensors (`"full"`). The configuration records which; it is never guessed from
    missing keys.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpForImageClassification, PromptPreTrainedModel
        >>> model = CoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
        >>> isinstance(model, PromptPreTrainedModel)
        True
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['prompt_learner.context']

        ```
    """

    backbone_classes: ClassVar[tuple[type[PreTrainedModel], ...]]

    # -- freezing ----------------------------------------------------------------------------------------------------

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the backbone that are trained with the prompt; by default there are none."""
        return ()

    def freeze_backbone(self) -> None:
        """Freeze the backbone, except for `trained_backbone_parameters`.

        It is called again after loading, because transformers 5 unfreezes what it loads.
        """
        self.backbone.requires_grad_(False)
        if _LOADED.get() is not None:
            own_weights(self.trained_backbone_parameters())
        for parameter in self.trained_backbone_parameters():
            parameter.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the train or eval mode, as `nn.Module.train`; frozen towers of the backbone always stay in eval mode.

        Args:
            mode: whether to set the train mode.
        """
        super().train(mode)
        for part in (self.backbone, *self.backbone.children()):
            if {parameter.requires_grad for parameter in part.parameters()} == {False}:
                part.eval()
        return self

    def _trains_backbone(self) -> bool:
        return any(True for _ in self.trained_backbone_parameters())

    # -- loading the backbone ----------------------------------------------------------------------------------------

    @classmethod
    def _for_backbone(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the backbone's `from_pretrained`, with its own part of `attn_implementation`."""
        attention = kwargs.get("attn_implementation")
        if isinstance(attention, dict):
            return kwargs | {"attn_implementation": attention.get(cls.backbone_config_name())}
        return kwargs

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the pretrained backbone.

        Args:
            name_or_path: Hub id, folder, or "playground" for the one that ships with the package. It may also be a
                folder or repository of open_clip.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, ….

        Raises:
            OSError: if there is no such backbone, or its weights are damaged.
            TypeError: if the method does not support the type of the backbone.
        """
        if (kept := _LOADED.get()) is None:
            return cls._read_backbone(name_or_path, **kwargs)
        key = (cls.backbone_classes, str(name_or_path), repr(sorted(kwargs.items())))
        if key not in kept:
            kept[key] = cls._read_backbone(name_or_path, **kwargs)
            own_weights(kept[key].parameters())
        # The parameters are new, so that each model moves and freezes its own, but their memory is shared.
        shared = {id(each): nn.Parameter(each.data, each.requires_grad) for each in kept[key].parameters()}
        return copy.deepcopy(kept[key], shared)

    @classmethod
    def _read_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the backbone as `load_backbone` does, also if it was loaded before."""
        name_or_path = locate_backbone(name_or_path, cls.packaged_backbone)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        check_reachable(name_or_path, **hub_kwargs)
        known = {model_class.config_class.model_type: model_class for model_class in cls.backbone_classes}
        checkpoint = None
        if is_open_clip(name_or_path, **hub_kwargs):
            checkpoint = read_clip_checkpoint(name_or_path, **hub_kwargs)
            model_type = checkpoint.config.model_type
        else:
            config_dict, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub_kwargs)
            with reading(name_or_path, "config.json"):
                check_config(config_dict)
            model_type = config_dict.get("model_type", next(iter(known)))
        if model_type not in known:
            listed = ", ".join(f"{name!r} ({model_class.__name__})" for name, model_class in known.items())
            raise TypeError(
                f"The backbone {str(name_or_path)!r} is of type {model_type!r}, which {cls.__name__} does not "
                f"support. Pass a checkpoint of {listed}."
            )
        if checkpoint is not None:
            return checkpoint.build(**cls._for_backbone(kwargs))
        try:
            return known[model_type].from_pretrained(name_or_path, **cls._for_backbone(kwargs))
        except SafetensorError as error:
            raise OSError(f"The weights of the backbone {str(name_or_path)!r} are damaged ({error}).") from error

    # -- publishing --------------------------------------------------------------------------------------------------

    def push_to_hub(
        self, repo_id: str, *, base_model: str | None = None, save_backbone: bool | None = None, **kwargs: Any
    ) -> CommitInfo:
        """Upload the checkpoint, its processor and its model card in one commit.

        Args:
            repo_id: Hub id of the repository, which is created if it does not exist.
            base_model: Hub id of the backbone, if it was loaded from a local folder.
            save_backbone: as in `save_pretrained`.
            kwargs: `with_shim`, `private`, `license`, …, as in [`CompletePreTrainedModel.push_to_hub`].

        Raises:
            ValueError: if the checkpoint would refer to a folder on this machine.
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

    def describe_checkpoint(self) -> Checkpoint:
        """Describe what the next checkpoint contains, for its model card."""
        checkpoint = super().describe_checkpoint()
        if self.lora_updates is None:
            return checkpoint
        count = sum(tensor.numel() for tensor in self.lora_updates.tensors.values())
        return replace(checkpoint, num_learned=checkpoint.num_learned + count, has_updates=True)

    def check_push(self, base_model: str | None = None) -> None:
        """Raise the errors that `push_to_hub` would raise, without access to the Hub.

        Args:
            base_model: as in `push_to_hub`.

        Raises:
            ValueError: if the checkpoint would refer to a folder on this machine.
        """
        base = base_model or self.config.base_model_name_or_path
        if self.config.weights_scope == "prompt" and base is not None and os.path.isabs(base):
            raise ValueError(
                f"The backbone of this prompt is a local folder ({base}), which others cannot access. Pass "
                "base_model='user/repository' if it is on the Hub, or save_backbone=True to upload it too."
            )

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the modules that a subclass adds; the backbone initialises its own."""
        raise NotImplementedError


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in single precision, or in double precision if it already is.

    Args:
        tensor: floating-point tensor.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
