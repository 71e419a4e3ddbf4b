"""Packing of prompts, so that shared prefixes are encoded once.

A causal text tower that is read only at the last token of a prompt allows many prompts to share one row. The prompts
of a row form a tree of token ids (a trie) in depth-first order, and a token attends only to its ancestors. A row of
CoOp is `[start, context][name 1 . end][name 2 . end]…`. Names with the same prefix share that too, and equal prompts
are encoded once. Features and gradients are the same as for separate prompts, because each token attends to the same
tokens at the same positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import torch


ATTENTION_COLUMNS = 1280
"""Number of attention columns that cost as much per token as the linear layers (measured at width 512 on a CPU)."""


@dataclass(frozen=True)
class PackedPrompts:
    """Prompts laid out as few rows. Padding attends only to itself, and no other token attends to it.

    Attributes:
        input_ids: (rows, row length) token ids.
        position_ids: (rows, row length) place of each token in its own prompt.
        subtree_ends: (rows, row length) column after the last descendant of each token. In depth-first order, column
            `i` descends from column `j` if and only if `j <= i < subtree_ends[j]`.
        prompt_rows: (prompts,) row of the last token of each prompt.
        prompt_columns: (prompts,) column of the last token of each prompt.
    """

    input_ids: torch.LongTensor
    position_ids: torch.LongTensor
    subtree_ends: torch.LongTensor
    prompt_rows: torch.LongTensor
    prompt_columns: torch.LongTensor

    def to(self, device: torch.device | str) -> "PackedPrompts":
        """Return the prompts on another device."""
        return PackedPrompts(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def repeat(self, times: int, vocab_size: int, num_virtual_tokens: int) -> "PackedPrompts":
        """Repeat the prompts, each time with different context vectors.

        Args:
            times: number of contexts, such as one for each image.
            vocab_size: vocabulary size of the text tower; ids past it are virtual tokens.
            num_virtual_tokens: number of virtual tokens in a context. The ids of each context follow those of the
                previous one.
        """
        rows = len(self.input_ids)
        number = torch.arange(times, device=self.input_ids.device)
        offsets = (number * num_virtual_tokens)[:, None, None]
        input_ids = torch.where(self.input_ids >= vocab_size, self.input_ids + offsets, self.input_ids)
        return PackedPrompts(
            input_ids=input_ids.flatten(0, 1),  # type: ignore[arg-type]
            position_ids=self.position_ids.repeat(times, 1),  # type: ignore[arg-type]
            subtree_ends=self.subtree_ends.repeat(times, 1),  # type: ignore[arg-type]
            prompt_rows=(self.prompt_rows + number[:, None] * rows).flatten(),  # type: ignore[arg-type]
            prompt_columns=self.prompt_columns.repeat(times),  # type: ignore[arg-type]
        )

    def attention_mask(self, dtype: torch.dtype, unseen: torch.Tensor | None = None) -> torch.Tensor:
        """Return an additive attention mask: 0 where a token attends to another, else the minimum of the dtype.

        Args:
            dtype: dtype of the mask.
            unseen: (rows, row length) true for tokens to which only they themselves attend.

        Returns:
            (rows, 1, row length, row length); tokens of the third axis attend to those of the last.
        """
        columns = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        visible = (columns[None, None, :] <= columns[None, :, None]) & (
            columns[None, :, None] < self.subtree_ends[:, None, :]
        )
        if unseen is not None:
            visible &= ~unseen[:, None, :] | (columns[None, :] == columns[:, None])
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def pack_prompts(
    prompts: Sequence[Sequence[int]], row_length: int | None = None, prompts_per_row: int | None = None
) -> PackedPrompts:
    """Lay prompts out as few rows; the layout does not change their features.

    Args:
        prompts: token ids of each prompt, which is read at its last token. Prompts may repeat.
        row_length: maximum length of a row, except for longer prompts, which have their own row. Longer rows repeat
            shared prefixes less often, but attention costs more. Default: the cheapest length for these prompts.
        prompts_per_row: maximum number of prompts in a row, to save memory.

    Raises:
        ValueError: if there are no prompts, or one is empty.
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("Expected at least one prompt, and no empty prompts.")
    # Sorted prompts are the leaves of a trie in depth-first order: each shares its longest prefix with the previous.
    order = sorted(range(len(prompts)), key=lambda index: tuple(prompts[index]))
    shared = [0, *(_shared(prompts[one], prompts[next]) for one, next in pairwise(order))]
    lengths = [len(prompts[index]) for index in order]
    if row_length is None:
        row_length = _cheapest_row_length(lengths, shared, prompts_per_row)
    starts, filled = _row_starts(lengths, shared, row_length, prompts_per_row)
    longest = max(filled)

    input_ids = torch.zeros(len(starts), longest, dtype=torch.long)
    position_ids = torch.zeros_like(input_ids)
    subtree_ends = torch.arange(1, longest + 1).repeat(len(starts), 1)
    places = torch.empty(len(prompts), 2, dtype=torch.long)
    for number, (start, stop) in enumerate(pairwise([*starts, len(order)])):
        row = _Row()
        for place in range(start, stop):
            column = row.add(prompts[order[place]], shared[place] if place > start else 0)
            places[order[place]] = torch.tensor([number, column])
        row.close(depth=0)
        input_ids[number, : len(row.ids)] = torch.tensor(row.ids)
        position_ids[number, : len(row.ids)] = torch.tensor(row.depths)
        subtree_ends[number, : len(row.ids)] = torch.tensor(row.ends)
    prompt_rows, prompt_columns = places.unbind(1)
    return PackedPrompts(input_ids, position_ids, subtree_ends, prompt_rows, prompt_columns)  # type: ignore[arg-type]


def lay_out_apart(prompts: Sequence[Sequence[int]]) -> PackedPrompts:
    """Lay prompts out in separate rows, in their order, padded on the right.

    Args:
        prompts: token ids of each prompt, which is read at its last token.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    columns = torch.arange(longest)
    input_ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
    is_prompt = columns < lengths[:, None]
    return PackedPrompts(
        input_ids=input_ids,  # type: ignore[arg-type]
        position_ids=columns.repeat(len(prompts), 1),  # type: ignore[arg-type]
        subtree_ends=torch.where(is_prompt, lengths[:, None], columns + 1),  # type: ignore[arg-type]
        prompt_rows=torch.arange(len(prompts)),  # type: ignore[arg-type]
        prompt_columns=lengths - 1,  # type: ignore[arg-type]
    )


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the shared prefix."""
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _row_starts(
    lengths: Sequence[int], shared: Sequence[int], row_length: int, prompts_per_row: int | None
) -> tuple[list[int], list[int]]:
    """Return the indices of the sorted prompts that start a row, and the number of tokens in each row."""
    starts: list[int] = []
    filled: list[int] = []
    for place, (length, common) in enumerate(zip(lengths, shared, strict=True)):
        full = prompts_per_row is not None and starts and place - starts[-1] >= prompts_per_row
        if not starts or full or filled[-1] + length - common > row_length:
            starts.append(place)
            filled.append(length)
        else:
            filled[-1] += length - common
    return starts, filled


def _cheapest_row_length(lengths: Sequence[int], shared: Sequence[int], prompts_per_row: int | None) -> int:
    """Return the row length with the lowest estimated cost of repeated prefixes, padding and attention."""

    def filled_at(row_length: int) -> list[int]:
        return _row_starts(lengths, shared, row_length, prompts_per_row)[1]

    def cost(row_length: int) -> int:
        filled = filled_at(row_length)
        even = max(shortest, -(-sum(filled) // len(filled)))
        return len(filled) * even * (ATTENTION_COLUMNS + even)

    shortest = max(lengths)
    candidates = [shortest, *(length for length in (round(32 * 1.25**n) for n in range(13)) if length > shortest)]
    low = shortest
    high = best = min(candidates, key=cost)
    rows = len(filled_at(best))
    while low < high:  # the smallest length with as many rows has the least padding
        middle = (low + high) // 2
        low, high = (low, middle) if len(filled_at(middle)) <= rows else (middle + 1, high)
    return low


class _Row:
    """Row under construction: its tokens in depth-first order, and the path to the last prompt added."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.ends: list[int] = []
        self.path: list[int] = []

    def add(self, ids: Sequence[int], shared: int) -> int:
        """Add a prompt that shares the first `shared` ids with the previous; return the column of its last token."""
        self.close(shared)
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
