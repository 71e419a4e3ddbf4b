"""Scores of regions from the logits at the blanks, and the losses of CPT."""

from typing import Literal

import torch
from torch.nn import functional as F

from hf_prompt_models.metrics.grounding import IOU_THRESHOLD
from hf_prompt_models.utils.distributed import mean_over_processes


Score = Literal["log_odds", "logit", "logit_ratio", "prob"]


def palette_logits(
    logits: torch.Tensor, color_ids: torch.Tensor, none_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the blank's logits for the colours in a copy, and for "none".

    Args:
        logits: (copies, texts, vocabulary).
        color_ids: (copies, colours) token ids, -1 if a copy has fewer colours.
        none_ids: (copies,) token id of "none", -1 if sentences have no blank.

    Returns:
        (copies, texts, colours) with -inf for -1, and (copies, texts) with 0 for -1.
    """
    texts = logits.shape[1]
    colors = logits.gather(2, color_ids.clamp(min=0)[:, None].expand(-1, texts, -1))
    none = logits.gather(2, none_ids.clamp(min=0)[:, None, None].expand(-1, texts, 1))[..., 0]
    return colors.masked_fill(color_ids[:, None] < 0, -torch.inf), none.masked_fill(none_ids[:, None] < 0, 0.0)


def color_scores(colors: torch.Tensor, none: torch.Tensor, score: Score) -> torch.Tensor:
    """Return the scores of the colours in a copy, (copies, texts, colours), -inf for missing colours.

    Args:
        colors: (copies, texts, colours) from `palette_logits`.
        none: (copies, texts) from `palette_logits`.
        score: as in [`CptConfig`].
    """
    absent = colors.isneginf()
    if score == "logit":
        return colors
    if score == "log_odds":
        return colors - none[..., None]
    if score == "logit_ratio":
        return (colors.masked_fill(absent, 0.0) / none[..., None]).masked_fill(absent, -torch.inf)
    return torch.cat([colors, none[..., None]], dim=-1).softmax(dim=-1)[..., :-1].masked_fill(absent, -torch.inf)


def region_scores(
    scores: torch.Tensor, region_index: torch.Tensor, example: torch.Tensor, num_examples: int, num_regions: int
) -> torch.Tensor:
    """Return the scores of regions, given the scores of colours.

    If copies have several colours and the same region is first in all copies of an example, that region is the anchor:
    in each copy, the anchor's score is subtracted from all scores, and the anchor's score in the first copy is added.
    Otherwise, a region's score is the mean over the copies that show it.

    Args:
        scores: (copies, texts, colours). The mean over the other texts is subtracted from the score of the first.
        region_index: (copies, colours) index of the region that has the colour, -1 for none.
        example: (copies,) index of the example that a copy belongs to, ascending.
        num_examples: number of examples.
        num_regions: number of regions of the example with the most.

    Returns:
        (examples, regions), -inf if an example has fewer.
    """
    painted = region_index >= 0
    # Scores of missing colours are -inf, so they are removed before any arithmetic.
    values = scores.masked_fill(~painted[:, None], 0.0)
    value = values[:, 0] - values[:, 1:].mean(dim=1) if values.shape[1] > 1 else values[:, 0]
    if region_index.shape[1] > 1:
        copies = torch.arange(len(example), device=example.device)
        first_copy = torch.searchsorted(example.contiguous(), example.contiguous())
        repeats_anchor = (region_index[:, 0] == region_index[first_copy, 0]) & (copies != first_copy)
        anchored = value - value[:, :1] + value[first_copy, :1]
        value = torch.where(repeats_anchor[:, None], anchored, value)
        painted = torch.cat([painted[:, :1] & ~repeats_anchor[:, None], painted[:, 1:]], dim=1)
    # Colours without a region are added to an extra entry at the end, so that shapes do not depend on values.
    count = num_examples * num_regions
    place = torch.where(painted, example[:, None] * num_regions + region_index, count).flatten()
    zeros = value.new_zeros(count + 1)
    total = zeros.index_add(0, place, value.flatten())[:count]
    shown = zeros.index_add(0, place, torch.ones_like(value).flatten())[:count]
    return (total / shown.clamp(min=1)).masked_fill(shown == 0, -torch.inf).view(num_examples, num_regions)


def copy_targets(labels: torch.Tensor, region_index: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Return the correct colour in each copy: that of the region with the highest overlap, if it is positive.

    Args:
        labels: (examples, regions) overlaps (IoU) of regions with the true box.
        region_index: (copies, colours) as in `region_scores`.
        example: (copies,) as in `region_scores`.

    Returns:
        (copies,) index of the colour, or the number of colours if "none" is correct.
    """
    overlap = labels[example[:, None], region_index.clamp(min=0)].masked_fill(region_index < 0, -1.0)
    best, color = overlap.max(dim=1)
    return torch.where(best > IOU_THRESHOLD, color, region_index.shape[1])


def vocab_loss(
    logits: torch.Tensor,
    color_ids: torch.Tensor,
    none_ids: torch.Tensor,
    targets: torch.Tensor,
    over_processes: bool = False,
) -> torch.Tensor:
    """Return the cross-entropy over the vocabulary, the mean over copies.

    Args:
        logits: (copies, vocabulary).
        color_ids: (copies, colours) token ids.
        none_ids: (copies,) token id of "none".
        targets: (copies,) from `copy_targets`.
        over_processes: whether the mean is over the copies of all processes that train together, which can have
            different numbers of copies.
    """
    words = torch.cat([color_ids, none_ids[:, None]], dim=1).gather(1, targets[:, None])[:, 0]
    return mean_loss(F.cross_entropy(logits, words, reduction="none"), over_processes)


def palette_loss(
    colors: torch.Tensor, none: torch.Tensor, targets: torch.Tensor, over_processes: bool = False
) -> torch.Tensor:
    """Return the cross-entropy over a copy's colours and "none", the mean over copies.

    Args:
        colors: (copies, colours) logits.
        none: (copies,) logits.
        targets: (copies,) from `copy_targets`.
        over_processes: as in `vocab_loss`.
    """
    losses = F.cross_entropy(torch.cat([colors, none[:, None]], dim=1), targets, reduction="none")
    return mean_loss(losses, over_processes)


def listwise_loss(proposal_logits: torch.Tensor, labels: torch.Tensor, over_processes: bool = False) -> torch.Tensor:
    """Return -log of the softmax probability of the positive regions, the mean over examples that have any.

    Args:
        proposal_logits: (examples, regions).
        labels: (examples, regions) overlaps with the true box.
        over_processes: as in `vocab_loss`.
    """
    positive = labels > IOU_THRESHOLD
    has_positive = positive.any(dim=1)
    log_probs = proposal_logits[has_positive].log_softmax(dim=1)
    return mean_loss(-log_probs.masked_fill(~positive[has_positive], -torch.inf).logsumexp(dim=1), over_processes)


def mean_loss(losses: torch.Tensor, over_processes: bool) -> torch.Tensor:
    """Return the mean of losses, 0 if there are none."""
    return mean_over_processes(losses) if over_processes else losses.sum() / max(len(losses), 1)
