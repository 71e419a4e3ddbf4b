"""Search of Tip-Adapter's `alpha` and `beta` on held-out images, which are never test images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F


GRID = torch.cat([torch.linspace(0.1, 50, 201), torch.logspace(-1, 1, 50)]).double().unique()
"""The values that are tried: the released grid for its widest range, and its top, with more small values."""
COMPARED = 32
"""Number of equally accurate settings whose cross-entropy is compared."""
ROWS = 2048
"""Number of images whose votes are computed at a time."""


@dataclass
class HeldOut:
    """Held-out images and a cache that does not hold them.

    Attributes:
        logits: (images, classes) logits without the cache.
        affinities: (images, keys) cosine similarities with the cached examples.
        key_labels: (keys,) class indices of the cached examples.
        labels: (images,) class indices.
    """

    logits: torch.Tensor
    affinities: torch.Tensor
    key_labels: torch.Tensor
    labels: torch.Tensor

    def parts(self) -> Iterator["HeldOut"]:
        """Yield the images in parts, whose votes fit into memory."""
        for start in range(0, len(self.labels), ROWS):
            part = slice(start, start + ROWS)
            yield HeldOut(self.logits[part], self.affinities[part].T.contiguous(), self.key_labels, self.labels[part])


def votes(similarities: torch.Tensor, labels: torch.Tensor, num_classes: int, beta: float) -> torch.Tensor:
    """Return the votes of cached examples for each class, (images, classes).

    Args:
        similarities: (keys, images) cosine similarities; keys come first, because rows can be added quickly.
        labels: (keys,) class indices.
        num_classes: number of classes.
        beta: sharpness.
    """
    weights = torch.exp(beta * (similarities - 1))
    return weights.new_zeros(num_classes, weights.shape[1]).index_add(0, labels, weights).T


@torch.no_grad()
def search_scales(
    held_out: Sequence[HeldOut], alpha: float | None = None, beta: float | None = None
) -> dict[str, float] | None:
    """Return the `alpha` and `beta` with the highest accuracy on held-out images; of several, the lowest loss decides.

    For each `beta` an image is classified correctly in one interval of `alpha`, so that all values of `alpha` are
    counted at once.

    Args:
        held_out: held-out images, each part with its own cache.
        alpha: value that is given and not searched.
        beta: value that is given and not searched.

    Returns:
        The two values, or `None` if no image is held out.
    """
    parts = [part for each in held_out for part in each.parts()]
    if not parts:
        return None
    alphas = GRID if alpha is None else torch.tensor([alpha], dtype=torch.float64)
    betas = GRID if beta is None else torch.tensor([beta], dtype=torch.float64)
    counts = torch.stack(
        [torch.stack([_correct(part, each, alphas) for part in parts]).sum(dim=0) for each in betas.tolist()]
    )
    best = (counts == counts.max()).nonzero()
    rows = best[:, 0].unique()
    rows = rows[torch.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).long()]
    # Of the values of alpha that are equally accurate, the middle one is the most robust.
    candidates = [(row, own[len(own) // 2]) for row in rows if len(own := best[best[:, 0] == row][:, 1])]
    losses = [
        sum(_loss(part, betas[row].item(), alphas[column].item()) for part in parts) for row, column in candidates
    ]
    row, column = candidates[min(range(len(candidates)), key=losses.__getitem__)]
    return {"alpha": alphas[column].item(), "beta": betas[row].item()}


def _correct(part: HeldOut, beta: float, alphas: torch.Tensor) -> torch.Tensor:
    """Return the number of images that are classified correctly for each alpha, (alphas,)."""
    found = votes(part.affinities, part.key_labels, part.logits.shape[1], beta)
    own = part.labels[:, None]
    text_margin = (part.logits.gather(1, own) - part.logits).double()
    vote_margin = (found.gather(1, own) - found).double()
    text_margin.scatter_(1, own, torch.inf)  # the class is not compared with itself
    bound = -text_margin / vote_margin
    low = torch.where(vote_margin > 0, bound, -torch.inf).amax(dim=1)
    high = torch.where(vote_margin < 0, bound, torch.inf).amin(dim=1)
    never = ((vote_margin == 0) & (text_margin <= 0)).any(dim=1)
    alphas = alphas.to(low.device)
    return ((alphas > low[:, None]) & (alphas < high[:, None]) & ~never[:, None]).sum(dim=0).cpu()


def _loss(part: HeldOut, beta: float, alpha: float) -> float:
    logits = part.logits + alpha * votes(part.affinities, part.key_labels, part.logits.shape[1], beta)
    return F.cross_entropy(logits, part.labels, reduction="sum").item()
