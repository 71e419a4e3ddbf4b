"""How the words that a backbone puts into the blank become scores of regions, and losses."""

from typing import Literal

import torch
from torch.nn import functional as F

from hf_prompt_models.models.cpt.regions_cpt import POSITIVE_IOU
from hf_prompt_models.utils.distributed import mean_over_processes


Score = Literal["log_odds", "logit", "logit_ratio", "prob"]
Loss = Literal["vocab_ce", "palette_ce", "listwise"]


def palette_logits(
    logits: torch.Tensor, color_ids: torch.Tensor, none_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the blank's logits say of the colours in a copy, and of "none".

    Args:
        logits: (copies, texts, vocabulary).
        color_ids: (copies, colours) token ids, -1 where a copy has fewer colours.
        none_ids: (copies,) token id of "none", -1 where sentences have no blank.

    Returns:
        (copies, texts, colours), with -inf for -1; and (copies, texts), with 0 for -1.
    """
    texts = logits.shape[1]
    colors = logits.gather(2, color_ids.clamp(min=0)[:, None].expand(-1, texts, -1))
    none = logits.gather(2, none_ids.clamp(min=0)[:, None, None].expand(-1, texts, 1))[..., 0]
    return colors.masked_fill(color_ids[:, None] < 0, -torch.inf), none.masked_fill(none_ids[:, None] < 0, 0.0)


def color_scores(colors: torch.Tensor, none: torch.Tensor, score: Score) -> torch.Tensor:
    """Scores of the colours in a copy, (copies, texts, colours), from `palette_logits`; -inf for colours not there."""
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
    """Scores of regions from those of colours.

    Args:
        scores: (copies, texts, colours); the mean over the texts behind the first is subtracted from the first's.
        region_index: (copies, colours) which region has the colour, -1 for none. Where copies have several colours
            and one region is the first in all of an example's, it is the anchor: in each copy its score is subtracted,
            and its score in the first copy added. Otherwise a region's score is the mean over the copies that show it.
        example: (copies,) which example a copy belongs to, ascending.
        num_examples, num_regions: how many there are, regions of the example with the most.

    Returns:
        (examples, regions), -inf where an example has fewer.
    """
    painted = region_index >= 0
    # The scores of colours that are not there are -inf: taken out before any arithmetic.
    values = scores.masked_fill(~painted[:, None], 0.0)
    value = values[:, 0] - values[:, 1:].mean(dim=1) if values.shape[1] > 1 else values[:, 0]
    if region_index.shape[1] > 1:
        copies = torch.arange(len(example), device=example.device)
        first_copy = torch.searchsorted(example.contiguous(), example.contiguous())
        repeats_anchor = (region_index[:, 0] == region_index[first_copy, 0]) & (copies != first_copy)
        anchored = value - value[:, :1] + value[first_copy, :1]
        value = torch.where(repeats_anchor[:, None], anchored, value)
        painted = torch.cat([painted[:, :1] & ~repeats_anchor[:, None], painted[:, 1:]], dim=1)
    # What shows no region goes to a place behind all others: shapes then do not depend on values.
    count = num_examples * num_regions
    place = torch.where(painted, example[:, None] * num_regions + region_index, count).flatten()
    zeros = value.new_zeros(count + 1)
    total = zeros.index_add(0, place, value.flatten())[:count]
    shown = zeros.index_add(0, place, torch.ones_like(value).flatten())[:count]
    return (total / shown.clamp(min=1)).masked_fill(shown == 0, -torch.inf).view(num_examples, num_regions)


def copy_targets(labels: torch.Tensor, region_index: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Which colour is right in each copy: that of the region with the highest overlap, if it is positive.

    Args:
        labels: (examples, regions) overlaps (IoU) of regions with the true box.
        region_index: (copies, colours) as in `region_scores`.
        example: (copies,).

    Returns:
        (copies,) index of the colour; the number of colours, where "none" is right.
    """
    overlap = labels[example[:, None], region_index.clamp(min=0)].masked_fill(region_index < 0, -1.0)
    best, color = overlap.max(dim=1)
    return torch.where(best > POSITIVE_IOU, color, region_index.shape[1])


def vocab_loss(
    logits: torch.Tensor,
    color_ids: torch.Tensor,
    none_ids: torch.Tensor,
    targets: torch.Tensor,
    over_processes: bool = False,
) -> torch.Tensor:
    """Cross-entropy over the vocabulary: logits (copies, vocabulary), targets of `copy_targets`; mean over copies.

    With `over_processes`, as all three losses take it, the mean is over the copies of all processes that train
    together, of which each may have another number.
    """
    words = torch.cat([color_ids, none_ids[:, None]], dim=1).gather(1, targets[:, None])[:, 0]
    return _mean(F.cross_entropy(logits, words, reduction="none"), over_processes)


def palette_loss(
    colors: torch.Tensor, none: torch.Tensor, targets: torch.Tensor, over_processes: bool = False
) -> torch.Tensor:
    """Cross-entropy over a copy's colours (copies, colours) and "none" (copies,); mean over copies."""
    losses = F.cross_entropy(torch.cat([colors, none[:, None]], dim=1), targets, reduction="none")
    return _mean(losses, over_processes)


def listwise_loss(proposal_logits: torch.Tensor, labels: torch.Tensor, over_processes: bool = False) -> torch.Tensor:
    """-log of the probability that softmax over the regions gives the positive ones; mean over examples with any.

    Args:
        proposal_logits: (examples, regions).
        labels: (examples, regions) overlaps with the true box.
        over_processes: as for `vocab_loss`.
    """
    positive = labels > POSITIVE_IOU
    has_positive = positive.any(dim=1)
    log_probs = proposal_logits[has_positive].log_softmax(dim=1)
    return _mean(-log_probs.masked_fill(~positive[has_positive], -torch.inf).logsumexp(dim=1), over_processes)


def _mean(losses: torch.Tensor, over_processes: bool) -> torch.Tensor:
    """0 of none."""
    return mean_over_processes(losses) if over_processes else losses.sum() / max(len(losses), 1)
