"""Batches of examples of different lengths: pad them, find the entries without padding, and run them in chunks."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput


Output = TypeVar("Output", bound=ModelOutput)


def pad_stack(tensors: Sequence[torch.Tensor], value: float = 0) -> torch.Tensor:
    """Stack tensors with the same number of dimensions, each padded at the end to the largest size.

    Args:
        tensors: at least one tensor.
        value: the padding value.

    Returns:
        A tensor (tensors, largest size of each dimension).
    """
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    stacked = tensors[0].new_full((len(tensors), *shape), value)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(slice(size) for size in tensor.shape)] = tensor
    return stacked


def pad_cat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenate tensors along the first dimension. Other dimensions are padded with 0 to the largest size."""
    sizes = [max(size) for size in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    missing = [
        [
            length
            for size, own in zip(reversed(sizes), reversed(tensor.shape[1:]), strict=True)
            for length in (0, size - own)
        ]
        for tensor in tensors
    ]
    return torch.cat([F.pad(tensor, padding) for tensor, padding in zip(tensors, missing, strict=True)])


def unpadded_indices(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows and the columns, (entries,) each, of all entries that are not padding, in order.

    An exported graph also includes the padding, because its shapes must not depend on values.

    Args:
        mask: (rows, columns), 1 for an entry, 0 for padding.
    """
    if not torch.compiler.is_exporting():
        row, column = mask.nonzero(as_tuple=True)
        return row, column
    row, column = (torch.arange(size, device=mask.device) for size in mask.shape)
    return row.repeat_interleave(len(column)), column.repeat(len(row))


def pad_entries(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values of the entries of `unpadded_indices`, (entries, ...), as (rows, columns, ...).

    The padding is 0.
    """
    row, column = unpadded_indices(mask)
    if torch.compiler.is_exporting():
        values = torch.where(mask[row, column].view(-1, *[1] * (values.ndim - 1)) > 0, values, 0.0)
    return values.new_zeros(*mask.shape, *values.shape[1:]).index_put((row, column), values)


def run_in_chunks(
    function: Callable[[torch.Tensor], Output], count: int, chunk_size: int | None, device: torch.device
) -> Output:
    """Run a function of row numbers on all rows, one chunk at a time.

    In training, the activations of each chunk are computed again in the backward pass, which bounds memory.

    Args:
        function: function of row numbers, (rows,). Its output has tensors (rows, ...), or tuples of them.
        count: number of rows.
        chunk_size: number of rows per chunk; `None` means all rows.
        device: device of the row numbers.

    Returns:
        The output for all rows. Tensors in tuples are padded if their sizes differ between chunks.
    """
    rows = torch.arange(count, device=device)
    if chunk_size is None or count <= chunk_size:
        return function(rows)
    if torch.is_grad_enabled():
        chunks = [checkpoint(function, chunk, use_reentrant=False) for chunk in rows.split(chunk_size)]
    else:
        chunks = [function(chunk) for chunk in rows.split(chunk_size)]
    joined = {
        name: tuple(map(pad_cat, zip(*(chunk[name] for chunk in chunks), strict=True)))
        if isinstance(value, tuple)
        else torch.cat([chunk[name] for chunk in chunks])
        for name, value in chunks[0].items()
    }
    return type(chunks[0])(**joined)
