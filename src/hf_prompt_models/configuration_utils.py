"""What every prompt method's configuration holds."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_prompt_models.checkpoints.untrusted import check_config, reading
from hf_prompt_models.hub.reachable import check_name, check_reachable


@strict
class PromptConfig(PreTrainedConfig):
    r"""
    Base of the configurations of prompt methods.

    base_model_name_or_path (`str`, *optional*):
        Hub id or absolute path of the backbone that the prompt was learned for, or "playground", which names the tiny
        backbone in every installation of this package.
    base_model_revision (`str`, *optional*):
        Commit of that backbone on the Hub, which is the one that is loaded.
    base_model_fingerprint (`dict`, *optional*):
        Shapes and sampled values of a few of the backbone's tensors, by which another model is told from it.
    weights_scope (`"prompt"` or `"full"`, *optional*, defaults to `"full"`):
        What the weights file beside this configuration holds: the learned tensors alone, or the backbone too.
    peft_adapters (`dict`, *optional*):
        In a saved folder, the names of the PEFT adapters (`model.add_adapter`) next to the weights, and whether each
        is in use.
    bos_token_id, eos_token_id, pad_token_id (`int`, *optional*):
        The tokenizer's. Text towers that are read at their last position are padded with `pad_token_id`; beyond that
        nothing here reads them: the Trainer warns about a tokenizer that differs from the model.

    Subclasses name in the class attribute `task` the task of their models (`hf_prompt_models.tasks`): commands look
    it up there. The class attribute `method` is the name of the method, where that is not the `model_type`.
    """

    task: ClassVar[str] = ""
    method: ClassVar[str] = ""

    base_model_name_or_path: str | None = None
    base_model_revision: str | None = None
    base_model_fingerprint: dict[str, Any] | None = None
    weights_scope: Literal["prompt", "full"] = "full"
    peft_adapters: dict[str, bool] | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            OSError: if there is no such file.
            ValueError: naming the place, if it holds no configuration of this class.
        """
        check_name(pretrained_model_name_or_path)
        with reading(pretrained_model_name_or_path, "config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers.

        Raises:
            OSError: if there is no such model.
            ValueError: for a configuration of another type of model, such as a backbone's.
        """
        place = pretrained_model_name_or_path
        if not os.path.isfile(place):  # a configuration may also be named by its file
            check_reachable(place, **kwargs)
        config_dict, kwargs = super().get_config_dict(place, **kwargs)
        found = config_dict.get("model_type", cls.model_type)
        if cls is not PromptConfig and found != cls.model_type:
            raise ValueError(
                f"{str(place)!r} holds a model of type {str(found)[:80]!r}, not {cls.model_type!r}. Load it with the "
                "class of its type, or make a prompt model of a backbone with from_backbone(...)."
            )
        return config_dict, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers; a backbone that is named anew (by `kwargs`) is not at the commit of the old place.

        Raises:
            ValueError: if it is no configuration of this class, or larger than any model.
        """
        # Where it is from: `AutoConfig` says it by an argument.
        place = kwargs.get("name_or_path", config_dict.get("_name_or_path", ""))
        with reading(place, "config.json"):
            check_config(config_dict)
            if kwargs.get("base_model_name_or_path") is not None:
                config_dict = config_dict | {"base_model_revision": None}
            return super().from_dict(config_dict, **kwargs)

    @classmethod
    def method_name(cls) -> str:
        """Return the name of the method, such as "coop"."""
        return cls.method or cls.model_type

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Nothing: transformers would copy this package's source into saved folders."""

    @property
    def class_names(self) -> list[str]:
        """The classes' names in the order of their indices; names may repeat."""
        return [self.id2label[index] for index in range(len(self.id2label))]


def class_fields(class_names: Sequence[str]) -> dict[str, Any]:
    """The fields that hold class names: by index in `id2label`; in `label2id` the first of equal names counts."""
    id2label = dict(enumerate(class_names))
    return {"id2label": id2label, "label2id": {name: index for index, name in reversed(id2label.items())}}


def has_default_names(config: PreTrainedConfig) -> bool:
    """Return whether classes have the names that transformers gives where there are none: LABEL_0, LABEL_1, …"""
    return list(config.id2label.values()) == [f"LABEL_{index}" for index in range(len(config.id2label))]


def other_class_names(config: PreTrainedConfig, saved: PreTrainedConfig, place: str) -> list[str] | None:
    """Return the class names that a caller gives in place of a checkpoint's; `None` if they are the checkpoint's.

    Args:
        config: the configuration that the caller passes or changed.
        saved: that of the checkpoint.
        place: where it is, for messages.

    Raises:
        ValueError: if the fields contradict each other, or give a number of classes without names.
    """
    # As transformers does where a configuration is made: JSON has strings for keys.
    config.id2label = {int(i) if str(i).isdecimal() else i: name for i, name in config.id2label.items()}
    id2label, label2id = config.id2label, config.label2id
    if (id2label, label2id) == (saved.id2label, saved.label2id):
        return None
    if id2label == saved.id2label:
        id2label = {index: name for name, index in label2id.items()}
    elif label2id == saved.label2id:
        label2id = {name: index for index, name in id2label.items()}
    if set(id2label) != set(range(len(id2label))):
        raise ValueError(f"The classes have the indices {list(id2label)[:8]}; number them from 0 without gaps.")
    names = [id2label[index] for index in range(len(id2label))]
    if set(label2id) != set(names) or any(id2label.get(index) != name for name, index in label2id.items()):
        raise ValueError(
            f"id2label names the classes {names[:3]} and label2id {list(label2id)[:3]}: pass the same classes in both."
        )
    if id2label == saved.id2label:
        return None
    if names == [f"LABEL_{index}" for index in range(len(names))]:
        raise ValueError(
            f"The classes of {place!r} have names, and num_labels={len(names)} gives none: pass id2label and label2id."
        )
    return names


def ids_to_string(ids: list[int]) -> str:
    """Token ids as configurations keep them: one string a prompt, so that config.json has a line for each."""
    return " ".join(map(str, ids))


def ids_from_string(string: str) -> list[int]:
    """Inverse of `ids_to_string`."""
    return [int(token) for token in string.split()]
