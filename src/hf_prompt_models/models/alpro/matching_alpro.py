"""Video-text matching with hard negatives from the batch (paper, 3.2; released code: `compute_vtm`)."""

from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.utils import logging

from hf_prompt_models.models.alpro.losses_alpro import compare_all, draw_hard_negatives, matching_loss
from hf_prompt_models.models.alpro.text_tower_alpro import AlproTextModel
from hf_prompt_models.utils.distributed import gather_examples, pad_alike, process_index, share_examples


logger = logging.get_logger(__name__)

EVALUATION_SEED = 0


def match_in_batch(
    text_model: AlproTextModel,
    head: nn.Module,
    text: BaseModelOutputWithPooling,
    attention_mask: torch.Tensor,
    video: BaseModelOutputWithPooling,
    temperature: torch.Tensor,
    training: bool,
    **kwargs: Any,
) -> tuple[torch.Tensor, BaseModelOutput]:
    """The matching loss: of each pair, of its text with a similar video, and of its video with a similar text.

    Negatives come from the examples of all processes. The only example has none: the loss is then of the positive
    pair alone, and a warning says so.

    Args:
        text_model, head: what reads a pair, and the layer on its first token.
        text, attention_mask, video: features of as many texts as videos; those in the same row belong together.
        temperature: what similarities are divided by.
        training: whether torch's own generator samples the negatives. Otherwise they are sampled in the same way
            each time, so that an evaluation can be repeated and does not move the generator of the training.
        kwargs: `output_hidden_states`, `output_attentions`, of the positive pairs.

    Returns:
        The loss, and the positive pairs after the fusion layers, `.last_hidden_state` (batch, length + video tokens,
        width).
    """
    fused = text_model.fuse(text.last_hidden_state, attention_mask, video.last_hidden_state, **kwargs)
    pairs = fused.last_hidden_state[:, 0]
    similarities = compare_all(video.pooler_output.detach(), text.pooler_output.detach())
    if len(similarities) > 1:
        generator = None if training else torch.Generator().manual_seed(EVALUATION_SEED)
        negatives = draw_hard_negatives(similarities / temperature, generator)
        pairs = torch.cat([pairs, _fuse_negatives(text_model, text, attention_mask, video, negatives)])
    else:
        logger.warning_once(
            "There is one example in the batch, and so no other text or video that does not belong to it: video-text "
            "matching sees no negatives. Train with at least 2 examples at a time."
        )
    return matching_loss(head(pairs), positives=len(attention_mask)), fused


def _fuse_negatives(
    text_model: AlproTextModel,
    text: BaseModelOutputWithPooling,
    attention_mask: torch.Tensor,
    video: BaseModelOutputWithPooling,
    negatives: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """(2 * batch, width): own texts with others' videos, then others' texts with own videos."""
    batch = len(attention_mask)
    own = slice(process_index() * batch, (process_index() + 1) * batch)
    other_videos, other_texts = (indices[own] for indices in negatives)
    texts, mask = pad_alike(text.last_hidden_state), pad_alike(attention_mask)
    videos = share_examples(video.last_hidden_state)[other_videos]
    fused = text_model.fuse(
        torch.cat([texts, share_examples(texts)[other_texts]]),
        torch.cat([mask, gather_examples(mask)[other_texts]]),
        torch.cat([videos, video.last_hidden_state]),
        output_hidden_states=False,
        output_attentions=False,
    )
    return fused.last_hidden_state[:, 0]
