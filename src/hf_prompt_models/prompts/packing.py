"""Prompts that share a beginning are encoded once.

A causal text tower that reads a prompt's last token alone lets many prompts share one row: the prompts of a row form a
tree of token ids (a trie), written out in depth-first order, and a token sees just its ancestors. A row for CoOp reads
`[start, context][name 1 . end][name 2 . end]…`; names that begin alike share that too, equal prompts are one.
Features and gradients are those of every prompt alone: a token sees what it would see there, at the same positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class PackedPrompts:
    """Prompts laid out as few rows. Padding sees itself alone and is seen by nothing.

    Attributes:
        input_ids: (rows, row length) token ids.
        position_ids: (rows, row length) each token's place in its own prompt.
        subtree_ends: (rows, row length) the column after a token's last descendant: in depth-first order, column `i`
            descends from column `j` exactly if `j <= i < subtree_ends[j]`.
        prompt_rows, prompt_columns: (prompts,) where each prompt's last token stands.
    """

    input_ids: torch.LongTensor
    position_ids: torch.LongTensor
    subtree_ends: torch.LongTensor
    prompt_rows: torch.LongTensor
    prompt_columns: torch.LongTensor

    def to(self, device: torch.device | str) -> "PackedPrompts":
        return PackedPrompts(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def attention_mask(self, dtype: torch.dtype) -> torch.Tensor:
        """(rows, 1, row length, row length), additive: 0 where a token (third axis) sees another, else the minimum."""
        columns = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        visible = (columns[None, None, :] <= columns[None, :, None]) & (
            columns[None, :, None] < self.subtree_ends[:, None, :]
        )
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def pack_prompts(prompts: Sequence[Sequence[int]], row_length: int = 256) -> PackedPrompts:
    """Lay prompts out as rows of about `row_length` tokens (a longer prompt gets a row of its own).

    Args:
        prompts: token ids of each prompt, its last token being the one that is read. Prompts may repeat.
        row_length: where to start the next row. It trades attention over a row against repeats of the shared
            beginning; the result does not depend on it.
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("Pass at least one prompt, and no empty one.")
    rows: list[_Row] = [_Row()]
    places: list[tuple[int, int]] = [(0, 0)] * len(prompts)
    # Sorted prompts are a trie's leaves in depth-first order: each shares most with the one before.
    for index in sorted(range(len(prompts)), key=lambda index: tuple(prompts[index])):
        ids = prompts[index]
        if rows[-1].ids and len(rows[-1].ids) + len(ids) - rows[-1].shared(ids) > row_length:
            rows.append(_Row())
        places[index] = (len(rows) - 1, rows[-1].add(ids))

    longest = max(len(row.ids) for row in rows)
    input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
    position_ids = torch.zeros_like(input_ids)
    subtree_ends = torch.arange(1, longest + 1).repeat(len(rows), 1)
    for number, row in enumerate(rows):
        row.close(depth=0)
        input_ids[number, : len(row.ids)] = torch.tensor(row.ids)
        position_ids[number, : len(row.ids)] = torch.tensor(row.depths)
        subtree_ends[number, : len(row.ids)] = torch.tensor(row.ends)
    prompt_rows, prompt_columns = torch.tensor(places).unbind(1)
    return PackedPrompts(input_ids, position_ids, subtree_ends, prompt_rows, prompt_columns)  # type: ignore[arg-type]


class _Row:
    """One row in the making: its tokens in depth-first order and the path to the last prompt added."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.ends: list[int] = []
        self.path: list[int] = []

    def shared(self, ids: Sequence[int]) -> int:
        """How many of the first ids stand in the row already."""
        count = 0
        for column, token in zip(self.path, ids, strict=False):
            if self.ids[column] != token:
                break
            count += 1
        return count

    def add(self, ids: Sequence[int]) -> int:
        """Add a prompt; return the column of its last token."""
        self.close(self.shared(ids))
        for depth in range(len(self.path), len(ids)):
            self.path.append(len(self.ids))
            self.ids.append(ids[depth])
            self.depths.append(depth)
            self.ends.append(-1)
        return self.path[len(ids) - 1]

    def close(self, depth: int) -> None:
        """End the subtrees of the path below `depth`."""
        for column in self.path[depth:]:
            self.ends[column] = len(self.ids)
        del self.path[depth:]
