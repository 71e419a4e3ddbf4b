"""What the processes that train together agree on, and losses over the examples of all.

The losses' gradients fit `DistributedDataParallel`, which takes means; in those over gathered examples each
process has equally many. Without several processes nothing happens.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn import functional as F


T = TypeVar("T")


def num_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_index() -> int:
    """This process's place among all of all machines, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def as_on_main_process(find: Callable[[], T]) -> T:
    """What the main process finds, for all processes; the others do not look."""
    if num_processes() == 1:
        return find()
    found: list[Any] = [find() if process_index() == 0 else None]
    distributed.broadcast_object_list(found, src=0)
    return found[0]


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    if num_processes() > 1:
        distributed.barrier()


def gather_examples(tensor: torch.Tensor) -> torch.Tensor:
    """All processes' examples, (processes * examples, ...), in the order of the processes.

    For what every process then computes alike: the same loss from the same gathered examples.
    """
    return tensor if num_processes() == 1 else _Gather.apply(tensor)


def share_examples(tensor: torch.Tensor) -> torch.Tensor:
    """As `gather_examples`, for what each process then computes another part of.

    The gradients that an example gets in all processes are sent to its own and added up there.
    """
    return tensor if num_processes() == 1 else _Share.apply(tensor)


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of all processes' values (count,), of which each may have another number, or none; 0 of none at all.

    Each process gets its own part of it, the mean of which over the processes is the mean of all values, and so are
    the gradients'.
    """
    count = torch.tensor(len(values), device=values.device)
    if num_processes() > 1:
        distributed.all_reduce(count)
    return values.sum() * num_processes() / count.clamp(min=1)


def pad_alike(tensor: torch.Tensor) -> torch.Tensor:
    """(examples, length, ...) padded with zeros to the length of the process whose examples are longest."""
    if num_processes() == 1:
        return tensor
    shape = torch.tensor(tensor.shape[:2], device=tensor.device)
    shapes = [torch.empty_like(shape) for _ in range(num_processes())]
    distributed.all_gather(shapes, shape)
    sizes = [int(each[0]) for each in shapes]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"The processes have {sizes} examples, and must have equally many: set dataloader_drop_last=True."
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
        # Every process has computed the same loss of the same gathered examples, so this gradient is the whole one for
        # the examples of this process: nothing has to be sent. Each process brings the parameters the part that comes
        # through its own examples, and one process with all of the batch would add the parts up. DDP takes their mean
        # instead, so they go in multiplied by the number of processes. (A parameter that is used after the gathering,
        # as the temperature, has the whole gradient in every process, and the mean of it is right.)
        processes = distributed.get_world_size()
        return processes * gradient.chunk(processes)[distributed.get_rank()]


class _Share(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _all_gather(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # What lies behind computes another part of the loss in each process and ends in `gather_examples`, which has
        # already multiplied by the number of processes.
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
