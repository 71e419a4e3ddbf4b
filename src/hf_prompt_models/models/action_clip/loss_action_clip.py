"""ActionCLIP's loss (released code: `utils/KLLoss.py`, `utils/tools.py`), over all processes' examples."""

import torch
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
