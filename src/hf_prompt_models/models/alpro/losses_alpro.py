"""ALPRO's four losses (paper, section 3; released code: `src/modeling/alpro_models.py`)."""

import torch
from torch.nn import functional as F

from hf_prompt_models.modeling_clip_utils import at_least_float32
from hf_prompt_models.utils.distributed import gather_examples


IGNORED = -100
"""The label of a place that says nothing."""


def compare_all(video_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
    """Similarities of all processes' videos with all their texts, (videos, texts), never in half precision.

    Args:
        video_embeds, text_embeds: (batch, dim) L2-normalised.
    """
    with torch.autocast(video_embeds.device.type, enabled=False):
        return gather_examples(video_embeds) @ gather_examples(text_embeds).T


def contrastive_loss(
    video_embeds: torch.Tensor, text_embeds: torch.Tensor, temperature: torch.Tensor | float
) -> torch.Tensor:
    """VTC: each video is to be closest to its own text among all processes' texts, and the other way round.

    Args:
        video_embeds, text_embeds: (batch, dim) L2-normalised; a text and the video in the same row belong together.
        temperature: what similarities are divided by.
    """
    similarities = compare_all(video_embeds, text_embeds) / temperature
    own = torch.arange(len(similarities), device=similarities.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


@torch.no_grad()
def draw_hard_negatives(
    similarities: torch.Tensor, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Another video for each text and another text for each video, the likelier the more alike they are.

    Args:
        similarities: (examples, examples) of videos with texts, divided by the temperature; at least 2 examples.
        generator: the source of randomness, on the CPU. Default: torch's own.

    Returns:
        (examples,) indices of videos, one a text, and (examples,) indices of texts, one a video.
    """
    others = similarities.detach().cpu()  # whose generator the Trainer saves, and which is the same for every device
    others = others.masked_fill(torch.eye(len(others), dtype=torch.bool), float("-inf"))
    videos = torch.multinomial(others.T.softmax(dim=1), 1, generator=generator).flatten()
    texts = torch.multinomial(others.softmax(dim=1), 1, generator=generator).flatten()
    return videos.to(similarities.device), texts.to(similarities.device)


def matching_loss(logits: torch.Tensor, positives: int) -> torch.Tensor:
    """VTM: which pairs of a text and a video belong together, the mean over all processes' pairs.

    Args:
        logits: (pairs, 2), first those of `positives` pairs that do.
    """
    labels = (torch.arange(len(logits), device=logits.device) < positives).long()
    return F.cross_entropy(gather_examples(at_least_float32(logits)), gather_examples(labels))


def masked_word_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """MLM: the mean over the masked words of what their own costs; 0 where no word is masked.

    Args:
        logits: (batch, length, vocabulary).
        labels: (batch, length) token ids, -100 where nothing is asked.
    """
    flat = at_least_float32(logits).flatten(0, 1)
    total = F.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def keep_confident(soft_labels: torch.Tensor, threshold: float, legacy: bool = False) -> torch.Tensor:
    """Which crops teach something: those of which the prompter is sure enough.

    Args:
        soft_labels: (batch, entities) the prompter's probabilities.
        threshold: what the greatest of them must reach.
        legacy: as the released code does, which compares the likeliest entity's index with a threshold of 0.2.

    Returns:
        (batch,) bool.
    """
    if legacy:
        return soft_labels.argmax(dim=1) > 0
    return soft_labels.amax(dim=1) >= threshold


def entity_loss(logits: torch.Tensor, soft_labels: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """PEM: the cross entropy with the prompter's probabilities, the mean over the kept crops; 0 where none is kept.

    Args:
        logits, soft_labels: (batch, entities).
        keep: (batch,) bool.
    """
    costs = -(soft_labels * at_least_float32(logits).log_softmax(dim=1)).sum(dim=1)
    return costs.masked_fill(~keep, 0.0).sum() / keep.sum().clamp(min=1)
