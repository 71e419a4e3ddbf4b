"""Time budget of a search."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset


class OutOfTimeError(Exception):
    """Error of a step that would not end within the time budget. Its message is the reason that is reported."""


@dataclass
class Budget:
    """Time budget of a search.

    Attributes:
        seconds: The budget.
        began: Start, on the clock of `time.monotonic`.
    """

    seconds: float
    began: float

    @property
    def left(self) -> float:
        """Seconds that are left, negative if the time is over."""
        return self.began + self.seconds - time.monotonic()

    def check(self, needed: float = 0.0) -> None:
        """Check that a step can end in time.

        Args:
            needed: Seconds that the step needs.

        Raises:
            OutOfTimeError: If there is less time left.
        """
        left = max(self.left, 0.0)
        if needed >= left:
            raise OutOfTimeError(f"needs about {max(needed, 1):.0f} s more, of which {left:.0f} s were left")


class WithinBudget(Dataset):
    """Dataset whose items can only be read as long as there is time.

    Args:
        dataset: The dataset.
        budget: The time budget.
    """

    def __init__(self, dataset: Any, budget: Budget):
        self.dataset, self.budget = dataset, budget

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        self.budget.check()
        return self.dataset[index]

    @property
    def labels(self) -> torch.Tensor:
        """Class indices of shape (items,)."""
        return self.dataset.labels

    def key(self, index: int) -> bytes:
        """Return the key of an item in the feature cache."""
        return self.dataset.key(index)
