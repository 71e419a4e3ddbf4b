"""ActionCLIP's loss (released code: `utils/KLLoss.py`, `utils/tools.py`), over all processes' examples."""

from typing import Any

import torch
from torch import distributed
from torch.nn import functional as F


TARGET_TEMPERATURE = 10.0
"""Makes a distribution of matches: in a row of 128 the one that matches gets 0.994."""


def bidirectional_kl(
    video_embeds: torch.Tensor, text_embeds: torch.Tensor, matches: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """The mean of two divergences: of videos' similarities to texts from their matches, and of texts' to videos.

    Args:
        video_embeds: (videos, dim) L2-normalised.
        text_embeds: (texts, dim) L2-normalised.
        matches: (videos, texts) 1 where the text says what the video shows, else 0.
        scale: what similarities are multiplied with.
    """
    logits = scale * video_embeds @ text_embeds.T
    return (_kl_to_matches(logits, matches) + _kl_to_matches(logits.T, matches.T)) / 2


def _kl_to_matches(logits: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    target = (TARGET_TEMPERATURE * matches.to(logits.dtype)).softmax(dim=-1)
    # Not "batchmean": in a batch without a single label there are no texts, and nothing to be wrong about.
    return F.kl_div(logits.log_softmax(dim=-1), target, reduction="sum") / max(len(logits), 1)


def find_matches(labels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Which classes are each example's own.

    Args:
        labels: (examples,) class indices, or (examples, number of classes) 1 for each class that applies.
        classes: (texts,) class indices.

    Returns:
        (examples, texts) true or 1 where a class applies.
    """
    return labels[:, classes] if labels.dim() == 2 else labels[:, None] == classes[None]


def gather_examples(tensor: torch.Tensor) -> torch.Tensor:
    """All processes' examples, (processes * examples, ...), in the order of the processes; each has equally many.

    Gradients fit `DistributedDataParallel`, which divides by the number of processes (see `_Gather.backward`).
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return tensor
    return _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        gathered = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Every process has computed the same loss of the same gathered examples, so this gradient is the whole one for
        # the examples of this process: nothing has to be sent. Each process brings the parameters the part that comes
        # through its own examples, and one process with all of the batch would add the parts up. DDP takes their mean
        # instead, so they go in multiplied by the number of processes. (A parameter that is used after the gathering,
        # as the temperature, has the whole gradient in every process, and the mean of it is right.)
        processes = distributed.get_world_size()
        return processes * gradient.chunk(processes)[distributed.get_rank()]
