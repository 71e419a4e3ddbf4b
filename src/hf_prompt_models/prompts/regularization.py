"""Losses that keep features and predictions with a prompt close to those of the backbone with hand-written prompts."""

import torch
from torch.nn import functional as F


def cosine_distance(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the mean cosine similarity of rows, which is half of the squared distance of unit vectors.

    Args:
        features: (rows, dim)
        targets: (rows, dim)
    """
    return 1 - F.cosine_similarity(features, targets, dim=-1).mean()


def mean_absolute_difference(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference over all elements.

    Args:
        features: (rows, dim)
        targets: (rows, dim)
    """
    return F.l1_loss(features, targets)


def kl_divergence(logits: torch.Tensor, target_logits: torch.Tensor, divisor: int) -> torch.Tensor:
    """Return the sum of the KL divergences of softmax(logits) from softmax(target_logits), divided by `divisor`.

    Args:
        logits: (rows, classes)
        target_logits: (rows, classes)
        divisor: number of rows for the mean over examples, or number of elements as in PromptSRC.
    """
    divergence = F.kl_div(logits.log_softmax(-1), target_logits.log_softmax(-1), reduction="sum", log_target=True)
    return divergence / divisor
