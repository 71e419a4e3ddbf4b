"""Loss of ActionCLIP (released code: `utils/KLLoss.py`, `utils/tools.py`)."""

import torch
from torch.nn import functional as F


TARGET_TEMPERATURE = 10.0
"""Factor of the matches before the softmax that makes the target: one match in a row of 128 gets 0.994."""


def bidirectional_kl(
    video_embeds: torch.Tensor, text_embeds: torch.Tensor, matches: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """Return the mean of the KL divergences of video-to-text and text-to-video similarities from the matches.

    Args:
        video_embeds: (videos, dim) L2-normalised.
        text_embeds: (texts, dim) L2-normalised.
        matches: (videos, texts) 1 if the text describes the video, else 0.
        scale: factor of the similarities before the softmax.
    """
    logits = scale * video_embeds @ text_embeds.T
    return (_kl_to_matches(logits, matches) + _kl_to_matches(logits.T, matches.T)) / 2


def _kl_to_matches(logits: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    target = (TARGET_TEMPERATURE * matches.to(logits.dtype)).softmax(dim=-1)
    # Not "batchmean": a batch without labels has no texts, and its loss is 0.
    return F.kl_div(logits.log_softmax(dim=-1), target, reduction="sum") / max(len(logits), 1)


def find_matches(labels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return which classes apply to each example.

    Args:
        labels: (examples,) class indices, or (examples, number of classes) 1 for each class that applies.
        classes: (texts,) class indices.

    Returns:
        (examples, texts) true or 1 if the class of the text applies to the example.
    """
    return labels[:, classes] if labels.dim() == 2 else labels[:, None] == classes[None]


def draw_classes(labels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """Return one of the classes of each example, (batch,).

    Args:
        labels: (batch, number of classes) 1 for each class that applies.
        draws: (batch,) random integers from 0, which select one of these classes.

    Raises:
        ValueError: if an example has no class.
    """
    own = labels > 0
    counts = own.sum(dim=1)
    without = torch.nonzero(counts == 0).flatten().tolist()
    if without:
        raise ValueError(
            f"The videos {without} of the batch have no label. Leave videos without labels out of training."
        )
    wanted = draws % counts
    return ((own.cumsum(dim=1) == wanted[:, None] + 1) & own).long().argmax(dim=1)
