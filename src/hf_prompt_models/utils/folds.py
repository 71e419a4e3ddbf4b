"""Folds for cross-validation on few examples per class."""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


NEVER_HELD_OUT = -1
"""Fold of the examples that are in every training part, because their class has no other example."""


def stratified_folds(
    labels: Sequence[int] | np.ndarray, num_folds: int, seed: int, groups: Sequence[Hashable] | None = None
) -> np.ndarray:
    """Return the fold of each example, so that each class is spread evenly over the folds.

    Each class keeps at least one example outside of each fold. A class whose examples are all of one group is never
    held out.

    Args:
        labels: Class index of each example.
        num_folds: Number of folds, at least 2. A fold is empty if no class has that many examples.
        seed: Seed of the assignment.
        groups: Group of each example, such as the digest of a file. Examples of one group are in the same fold.

    Returns:
        Integers of shape (examples,): the fold, or `NEVER_HELD_OUT`.

    Raises:
        ValueError: If there are fewer than two folds.

    Example:
        ```python
        >>> from hf_prompt_models.utils.folds import stratified_folds
        >>> sorted(stratified_folds([0, 0, 0, 1, 1, 1], num_folds=3, seed=0)[:3].tolist())
        [0, 1, 2]

        ```
    """
    if num_folds < 2:
        raise ValueError(f"num_folds must be at least 2, got {num_folds}.")
    keys: Sequence[Hashable] = range(len(labels)) if groups is None else groups
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        members[key].append(index)
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for indices in members.values():
        by_class[int(labels[indices[0]])].append(indices)
    folds = np.full(len(labels), NEVER_HELD_OUT)
    first = random.Random(f"folds/{seed}")
    for label, own in sorted(by_class.items()):
        random.Random(f"folds/{seed}/{label}").shuffle(own)
        if len(own) < 2:
            continue
        start = first.randrange(num_folds)  # so that small classes do not all fill the first folds
        for place, indices in enumerate(own):
            folds[indices] = (start + place) % num_folds
    for label in np.unique(labels):  # a group of several classes may hold all that there is of one of them
        own_rows = np.asarray(labels) == label
        if len(set(folds[own_rows])) == 1:
            folds[own_rows] = NEVER_HELD_OUT
    return folds
