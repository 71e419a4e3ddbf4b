"""Measuring what code costs: time, multiplications, and memory kept for the backward pass."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode


Result = TypeVar("Result")


def fastest(function: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """Seconds of the fastest call of some, and what the last returned. With more than one, a first is not counted."""
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        result = function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[-repeats:]), result


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: torch.dtype = torch.float32) -> float:
    """Floating point operations a second that this machine reaches in multiplying square matrices."""
    one, other = torch.randn(2, size, size).to(dtype)
    seconds, _ = fastest(lambda: one @ other, repeats)
    return 2 * size**3 / seconds


def count_flops(function: Callable[[], object]) -> int:
    """Floating point operations of a function's matrix multiplications, those of its backward pass too.

    PyTorch does not count attention on a CPU, so what is counted is less than what is done.
    """
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def activation_bytes(forward: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor]) -> int:
    """Bytes that a forward pass keeps for its backward pass, each storage once, parameters not counted."""
    known = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # alive until counted: a storage freed too soon would lend its address to another
    total = sum(kept.values())
    del result
    return total


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it can be read as text too; numbers stand on the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * (width - 1) + ":" for width in widths], *rows]
    padded = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
