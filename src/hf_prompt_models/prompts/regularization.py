"""Losses that keep what a prompt makes near to what the backbone makes of hand-written ones."""

import torch
from torch.nn import functional as F


def cosine_distance(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the mean cosine of rows: half of the squared distance of unit vectors.

    Args:
        features, targets: (rows, dim)
    """
    return 1 - F.cosine_similarity(features, targets, dim=-1).mean()


def mean_absolute_difference(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of the absolute differences over all elements.

    Args:
        features, targets: (rows, dim)
    """
    return F.l1_loss(features, targets)


def kl_divergence(logits: torch.Tensor, target_logits: torch.Tensor, divisor: int) -> torch.Tensor:
    """Return the summed KL divergence of softmax(logits) from softmax(target_logits), over an explicit divisor.

    Args:
        logits, target_logits: (rows, classes)
        divisor: the number of rows for a mean over examples, or of all elements as PromptSRC has it.
    """
    divergence = F.kl_div(logits.log_softmax(-1), target_logits.log_softmax(-1), reduction="sum", log_target=True)
    return divergence / divisor
