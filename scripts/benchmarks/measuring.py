"""Measuring what code costs: time, multiplications, and memory kept for the backward pass; and what to measure on."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel


Result = TypeVar("Result")

MIB = 2**20
CLIP_SHAPES = {"vit-b-32": 32, "vit-b-16": 16}
"""OpenAI's ViT-B models, and their patches' side. Their text towers are the same."""


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


def fastest_in_turn(functions: Sequence[Callable[[], Any]], repeats: int) -> list[tuple[float, Any]]:
    """As `fastest` for each of some functions, called one after the other in each round: what else a machine does
    then slows all of them alike. The first round counts too."""
    rounds = [[fastest(function, 1) for function in functions] for _ in range(repeats)]
    return [(min(seconds for seconds, _ in each), each[-1][1]) for each in zip(*rounds, strict=True)]


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


def describe_machine(precision: str = "fp32") -> str:
    """A sentence on the machine and how fast it is now."""
    threads, rate = torch.get_num_threads(), matmul_rate()
    return (
        f"{threads} thread{'s' if threads > 1 else ''} on {os.cpu_count()} cores, {precision}, torch "
        f"{torch.__version__}; matrices of 2048 x 2048 are multiplied at {rate / 1e9:.0f} GFLOP/s in fp32."
    )


def relative_difference(one: torch.Tensor, other: torch.Tensor) -> str:
    """Norm of the difference over the norm."""
    return f"{((one - other).norm() / other.norm()).item():.1e}"


def random_tensor(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build_random_clip(patch_size: int | None = None) -> CLIPModel:
    """A CLIP of ViT-B shapes with random weights; with next to no image tower where none is measured."""
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(vision_config=small if patch_size is None else {"patch_size": patch_size})).eval()
    torch.nn.init.constant_(clip.logit_scale, 4.6052)  # CLIP's temperature of 100
    return clip
