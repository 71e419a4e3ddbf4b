"""What several training runs on the same data and backbone share."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel


Value = TypeVar("Value")


class Shared:
    """Values that training runs on the same data and backbone compute once and share.

    A run that shares with no other computes them once for all of its seeds.

    Attributes:
        backbones: Loaded backbones, of which every model gets a copy (`loaded_backbones`).
        texts: Features of hand-written prompts (`shared_texts`).

    Example:
        ```python
        >>> from hf_prompt_models.tasks.classification.shared import Shared
        >>> shared = Shared()
        >>> shared.once("data", lambda: [1, 2])
        [1, 2]
        >>> shared.once("data", lambda: [3])
        [1, 2]

        ```
    """

    def __init__(self) -> None:
        self.backbones: dict[Hashable, PreTrainedModel] = {}
        self.texts: dict[Hashable, torch.Tensor] = {}
        self._values: dict[Hashable, Any] = {}

    def once(self, name: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of this name, which is computed at the first call.

        Args:
            name: Name of the value, with all that it depends on besides the data and the backbone.
            compute: Returns the value.
        """
        if name not in self._values:
            self._values[name] = compute()
        return self._values[name]
