"""Coordination of the processes of distributed training, and losses over the examples of all processes.

The gradients of the losses fit `DistributedDataParallel`, which averages them over the processes. For losses over
gathered examples, each process must have the same number of examples. With a single process, the functions do nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn import functional as F


T = TypeVar("T")


def num_processes() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_index() -> int:
    """Return the rank of this process among the processes of all machines, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def as_on_main_process(find: Callable[[], T]) -> T:
    """Call a function on the main process only, and return its result on all processes."""
    if num_processes() == 1:
        return find()
    found: list[Any] = [find() if process_index() == 0 else None]
    distributed.broadcast_object_list(found, src=0)
    return found[0]


def wait_for_all() -> None:
    """Wait until all processes have reached this call."""
    if num_processes() > 1:
        distributed.barrier()


def gather_examples(tensor: torch.Tensor) -> torch.Tensor:
    """Return the examples of all processes, (processes * examples, ...), in the order of the processes.

    Use it if every process then computes the same: the same loss from the same gathered examples.
    """
    return tensor if num_processes() == 1 else _Gather.apply(tensor)


def share_examples(tensor: torch.Tensor) -> torch.Tensor:
    """Return the examples of all processes, for a computation of which each process then does another part.

    The gradients of an example in all processes are summed in the process that the example comes from. See
    `gather_examples`.
    """
    return tensor if num_processes() == 1 else _Share.apply(tensor)


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return this process's part of the mean over the values of all processes.

    The average of the parts over the processes is the mean of all values, and the same holds for the gradients. It
    is 0 if no process has a value.

    Args:
        values: (count,) the values of this process. The count may differ between processes and may be 0.
    """
    count = torch.tensor(len(values), device=values.device)
    if num_processes() > 1:
        distributed.all_reduce(count)
    return values.sum() * num_processes() / count.clamp(min=1)


def pad_alike(tensor: torch.Tensor) -> torch.Tensor:
    """Pad a tensor (examples, length, ...) with zeros to the largest length among all processes.

    Raises:
        ValueError: if the processes have different numbers of examples.
    """
    if num_processes() == 1:
        return tensor
    shape = torch.tensor(tensor.shape[:2], device=tensor.device)
    shapes = [torch.empty_like(shape) for _ in range(num_processes())]
    distributed.all_gather(shapes, shape)
    sizes = [int(each[0]) for each in shapes]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"The processes have {sizes} examples, but need equal numbers. Set dataloader_drop_last=True."
        )
    missing = max(int(each[1]) for each in shapes) - tensor.shape[1]
    return F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, missing))


def _all_gather(tensor: torch.Tensor) -> torch.Tensor:
    gathered = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, tensor.contiguous())
    return torch.cat(gathered)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Every process has computed the same loss from the same gathered examples. This gradient is therefore already
        # complete for the examples of this process, and no communication is needed. Each process contributes the part
        # of the parameter gradients that passes through its own examples. A single process with the complete batch
        # would sum these parts, but DDP averages them, so they are multiplied by the number of processes. (A parameter
        # that is used after gathering, such as the temperature, has the complete gradient in every process, and the
        # average is correct.)
        processes = distributed.get_world_size()
        return processes * gradient.chunk(processes)[distributed.get_rank()]


class _Share(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # The computation after this point differs between processes and ends in `gather_examples`, which has already
        # multiplied by the number of processes.
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
