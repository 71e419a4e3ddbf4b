"""Base class of the configurations of all prompt methods."""

import math
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hf_prompt_models.checkpoints.untrusted import check_config, reading
from hf_prompt_models.hub.reachable import check_name, check_reachable


@strict
class PromptConfig(PreTrainedConfig):
    r"""Base class of the configurations of all prompt methods.

    Attributes:
        base_model_name_or_path (`str`, *optional*):
            Hub id or absolute path of the backbone that the prompt was trained for, or "playground" for the tiny
            backbone that ships with this package.
        base_model_revision (`str`, *optional*):
            Commit of that backbone on the Hub. This commit is loaded.
        base_model_fingerprint (`dict`, *optional*):
            Shapes and sampled values of a few tensors of the backbone, which tell it from other models.
        weights_scope (`"prompt"` or `"full"`, *optional*, defaults to `"full"`):
            What the weights file next to this configuration contains: only the trained tensors, or the backbone too.
        peft_adapters (`dict`, *optional*):
            In a saved folder, the names of the PEFT adapters (`model.add_adapter`) next to the weights, and whether
            each is active.
        bos_token_id (`int`, *optional*):
            Start token of the tokenizer. The Trainer warns if the tokenizer's special tokens differ from the model's.
        eos_token_id (`int`, *optional*):
            End token of the tokenizer.
        pad_token_id (`int`, *optional*):
            Padding token of the tokenizer. Text towers that are read at their last position are padded with it.

    Subclasses set the class attribute `task` to the task of their models (`hf_prompt_models.tasks`), where commands
    look it up. The class attribute `method` is the name of the method if it differs from `model_type`.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpConfig, PromptConfig
        >>> config = CoOpConfig(id2label={0: "a red key", 1: "a blue cup"})
        >>> isinstance(config, PromptConfig), config.task, config.class_names
        (True, 'image-classification', ['a red key', 'a blue cup'])

        ```
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
        """Load the configuration, as in transformers.

        Args:
            pretrained_model_name_or_path: Hub id, folder or file.
            kwargs: as in transformers.

        Raises:
            OSError: if there is no such file.
            ValueError: if it is not a configuration of this class. The message contains the path.
        """
        check_name(pretrained_model_name_or_path)
        with reading(pretrained_model_name_or_path, "config.json"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Load the fields of a configuration, as in transformers.

        Args:
            pretrained_model_name_or_path: Hub id, folder or file.
            kwargs: as in transformers.

        Raises:
            OSError: if there is no such model.
            ValueError: if the configuration is that of another model type, such as a backbone.
        """
        place = pretrained_model_name_or_path
        if not os.path.isfile(place):  # the path may also be that of the configuration file itself
            check_reachable(place, **kwargs)
        config_dict, kwargs = super().get_config_dict(place, **kwargs)
        found = config_dict.get("model_type", cls.model_type)
        if cls is not PromptConfig and found != cls.model_type:
            raise ValueError(
                f"{str(place)!r} contains a model of type {str(found)[:80]!r}, not {cls.model_type!r}. Load it with "
                "the class of its type, or create a prompt model from a backbone with from_backbone(...)."
            )
        return config_dict, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Make a configuration from a dictionary, as in transformers.

        If `kwargs` contain a `base_model_name_or_path`, `base_model_revision` is reset, because it is a commit of the
        previous backbone.

        Args:
            config_dict: the fields.
            kwargs: as in transformers.

        Raises:
            ValueError: if it is not a configuration of this class, or its sizes exceed those of any model.
        """
        # Source of the configuration for messages; `AutoConfig` passes it as an argument.
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
        """No-op: transformers would copy the source code of this package into saved folders."""

    @property
    def class_names(self) -> list[str]:
        """Class names in the order of their indices; names may repeat."""
        return [self.id2label[index] for index in range(len(self.id2label))]


@strict
class ClassifierConfig(PromptConfig):
    r"""Base class of the configurations of methods that classify images or videos.

    Attributes:
        calibration_temperature (`float`, *optional*, defaults to 1.0):
            Number that the logits are divided by, so that their softmax is well calibrated (temperature scaling, arXiv
            1706.04599). It is fitted after training, on held-out images, and is not the temperature of the backbone,
            which training uses. It belongs to the classes of the model: `set_classes` resets it.
    """

    calibration_temperature: float = 1.0

    def validate_calibration(self) -> None:
        """Check the temperature; `@strict` calls this method."""
        temperature = self.calibration_temperature
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"Expected calibration_temperature to be a number above 0, got {temperature}.")


def class_fields(class_names: Sequence[str]) -> dict[str, Any]:
    """Return the configuration fields with class names, `id2label` and `label2id`.

    If names repeat, `label2id` maps the name to the first of their indices.

    Args:
        class_names: class names, in the order of the labels.
    """
    id2label = dict(enumerate(class_names))
    return {"id2label": id2label, "label2id": {name: index for index, name in reversed(id2label.items())}}


def has_default_names(config: PreTrainedConfig) -> bool:
    """Return whether the classes have the default names of transformers: LABEL_0, LABEL_1, …."""
    return list(config.id2label.values()) == [f"LABEL_{index}" for index in range(len(config.id2label))]


def other_class_names(config: PreTrainedConfig, saved: PreTrainedConfig, place: str) -> list[str] | None:
    """Return the class names with which a caller replaces those of a checkpoint, or `None` if they are the same.

    Args:
        config: configuration that the caller passes or has changed.
        saved: configuration of the checkpoint.
        place: path or Hub id of the checkpoint, for messages.

    Raises:
        ValueError: if the fields contradict each other, or give a number of classes without names.
    """
    # Keys in JSON are strings: they are converted as transformers does when it makes a configuration.
    config.id2label = {int(i) if str(i).isdecimal() else i: name for i, name in config.id2label.items()}
    id2label, label2id = config.id2label, config.label2id
    if (id2label, label2id) == (saved.id2label, saved.label2id):
        return None
    if id2label == saved.id2label:
        id2label = {index: name for name, index in label2id.items()}
    elif label2id == saved.label2id:
        label2id = {name: index for index, name in id2label.items()}
    if set(id2label) != set(range(len(id2label))):
        raise ValueError(f"The classes have the indices {list(id2label)[:8]}. Number them from 0 without gaps.")
    names = [id2label[index] for index in range(len(id2label))]
    if set(label2id) != set(names) or any(id2label.get(index) != name for name, index in label2id.items()):
        raise ValueError(
            f"id2label has the classes {names[:3]}, but label2id has {list(label2id)[:3]}. Pass the same "
            "classes in both."
        )
    if id2label == saved.id2label:
        return None
    if names == [f"LABEL_{index}" for index in range(len(names))]:
        raise ValueError(
            f"The classes of {place!r} have names, but num_labels={len(names)} gives none. Pass id2label and label2id."
        )
    return names


def ids_to_string(ids: list[int]) -> str:
    """Join the token ids of a prompt to a string, so that it takes one line of config.json."""
    return " ".join(map(str, ids))


def ids_from_string(string: str) -> list[int]:
    """Return the token ids in a string that `ids_to_string` made."""
    return [int(token) for token in string.split()]
