"""Masked words, as BERT masks them (released code: `src/datasets/dataset_pretrain_sparse.py`)."""

import torch
from transformers import PreTrainedTokenizerBase

from hf_prompt_models.models.alpro.losses_alpro import IGNORED


MASKED, REPLACED = 0.8, 0.1
"""Of the tokens that are asked for: the share that becomes `[MASK]`, and another token. The rest stays."""


def mask_words(
    input_ids: torch.Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator, probability: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts with masked tokens, and what stood there.

    Args:
        input_ids: (batch, length). Special tokens and padding are not masked.
        tokenizer: that made them.
        generator: where chance comes from.
        probability: of a token to be asked for.

    Returns:
        (batch, length) token ids, and (batch, length) labels, -100 where nothing is asked.
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    asked = (torch.rand(input_ids.shape, generator=generator) < probability) & ~special
    chance = torch.rand(input_ids.shape, generator=generator)
    others = torch.randint(len(tokenizer), input_ids.shape, generator=generator)
    masked = input_ids.masked_fill(asked & (chance < MASKED), tokenizer.mask_token_id)
    masked = torch.where(asked & (chance >= MASKED) & (chance < MASKED + REPLACED), others, masked)
    return masked, input_ids.masked_fill(~asked, IGNORED)
