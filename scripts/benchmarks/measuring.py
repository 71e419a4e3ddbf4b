"""Measurement of time, floating point operations and memory for the backward pass, and random models to measure."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel
from transformers.activations import QuickGELUActivation

from hf_prompt_models.backbones.activations import QuickGELU


Result = TypeVar("Result")

MIB = 2**20
CLIP_SHAPES = {"vit-b-32": 32, "vit-b-16": 16}
"""Patch sizes of OpenAI's ViT-B models, in pixels. Their text towers have the same shapes."""


def fastest(function: Callable[[], Result], repeats: int) -> tuple[float, Result]:
    """Time repeated calls of a function.

    Args:
        function: the function to call.
        repeats: number of timed calls. If there are several, one call that is not timed precedes them as warm-up.

    Returns:
        The seconds of the fastest call, and the result of the last call.
    """
    times = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        result = function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[-repeats:]), result


def fastest_in_turn(functions: Sequence[Callable[[], Any]], repeats: int) -> list[tuple[float, Any]]:
    """Time several functions that are called alternately, so that other load on the machine affects all of them.

    Args:
        functions: the functions, called one after the other in each round.
        repeats: number of rounds; there is no warm-up.

    Returns:
        For each function, the seconds of its fastest call and the result of its last call.
    """
    rounds = [[fastest(function, 1) for function in functions] for _ in range(repeats)]
    return [(min(seconds for seconds, _ in each), each[-1][1]) for each in zip(*rounds, strict=True)]


def matmul_rate(size: int = 2048, repeats: int = 5, dtype: torch.dtype = torch.float32) -> float:
    """Measure the floating point operations per second that this machine reaches for products of square matrices."""
    one, other = torch.randn(2, size, size).to(dtype)
    seconds, _ = fastest(lambda: one @ other, repeats)
    return 2 * size**3 / seconds


def count_flops(function: Callable[[], object]) -> int:
    """Count the floating point operations of the matrix multiplications of a function, including its backward pass.

    PyTorch does not count attention on a CPU, so the count is too low.
    """
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def activation_bytes(forward: Callable[[], torch.Tensor], parameters: Sequence[torch.Tensor]) -> int:
    """Count the bytes that a forward pass keeps for its backward pass: each storage once, without parameters."""
    known = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # kept until counted, because the address of a freed storage would be reused
    total = sum(kept.values())
    del result
    return total


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table with right-aligned columns, padded so that it is also readable as plain text."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * (width - 1) + ":" for width in widths], *rows]
    padded = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def describe_machine(precision: str = "fp32") -> str:
    """Describe the machine and its current speed in one sentence."""
    threads, rate = torch.get_num_threads(), matmul_rate()
    return (
        f"{threads} thread{'s' if threads > 1 else ''} on {os.cpu_count()} cores, {precision}, torch "
        f"{torch.__version__}; matrices of 2048 x 2048 are multiplied at {rate / 1e9:.0f} GFLOP/s in fp32."
    )


def relative_difference(one: torch.Tensor, other: torch.Tensor) -> str:
    """Return the norm of the difference divided by the norm of `other`."""
    return f"{((one - other).norm() / other.norm()).item():.1e}"


def random_tensor(*shape: int, seed: int) -> torch.Tensor:
    """Sample a tensor from the standard normal distribution."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def transformers_activations(backbone: nn.Module) -> Iterator[None]:
    """Give the layers of a backbone the QuickGELU of transformers for some time, as a reference implementation has."""
    layers = [module for module in backbone.modules() if isinstance(getattr(module, "activation_fn", None), QuickGELU)]
    for layer in layers:
        layer.activation_fn = QuickGELUActivation()
    try:
        yield
    finally:
        for layer in layers:
            layer.activation_fn = QuickGELU()


def build_random_clip(patch_size: int | None = None) -> CLIPModel:
    """Build a CLIP with the shapes of ViT-B and random weights.

    Args:
        patch_size: patch size of the image tower. Default: a minimal image tower, for benchmarks of text only.
    """
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig(vision_config=small if patch_size is None else {"patch_size": patch_size})).eval()
    torch.nn.init.constant_(clip.logit_scale, 4.6052)  # the logit scale of 100 of the released CLIP models
    return clip
