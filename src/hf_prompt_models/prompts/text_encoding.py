"""Running a causal text tower that is read at its end token, as CLIP's, over packed prompts."""

from typing import cast

import torch
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel

from hf_prompt_models.prompts.context import embed_prompts
from hf_prompt_models.prompts.packing import PackedPrompts


ROWS_PER_FORWARD = 64
"""Bounds the memory of large ensembles (80 templates of 1000 classes are about 2000 rows)."""


def encode_prompts(
    text_model: CLIPTextModel, prompts: PackedPrompts, context: torch.Tensor | None = None
) -> torch.Tensor:
    """The text tower's pooled output for every packed prompt, differentiable with respect to the context.

    Args:
        text_model: the tower, of a backbone that packs prompts.
        prompts: the packed prompts, on the tower's device. Ids past the vocabulary stand for context vectors, in the
            order of the flattened context.
        context: (..., hidden size) context vectors.

    Returns:
        (prompts, hidden size), before the projection.
    """
    if text_model.config._attn_implementation not in ("eager", "sdpa"):
        text_model.set_attn_implementation("sdpa")  # packed rows need a 4-D mask, which flash attention does not take
    # Prompts lie in the rows in order, so each chunk of rows yields its own prompts and one gather restores the order.
    chunks = []
    for start in range(0, len(prompts.input_ids), ROWS_PER_FORWARD):
        arguments = (text_model, _rows(prompts, start, start + ROWS_PER_FORWARD), context)
        if text_model.encoder.gradient_checkpointing and torch.is_grad_enabled():
            # Here and not in the tower's layers: those checkpoint in training mode alone, and ours are frozen.
            chunks.append(checkpoint(_encode_rows, *arguments, use_reentrant=False))
        else:
            chunks.append(_encode_rows(*arguments))
    order = torch.argsort(prompts.prompt_rows // ROWS_PER_FORWARD, stable=True)
    return torch.cat(chunks)[torch.argsort(order)]


def _rows(prompts: PackedPrompts, start: int, stop: int) -> PackedPrompts:
    inside = (prompts.prompt_rows >= start) & (prompts.prompt_rows < stop)
    return PackedPrompts(
        input_ids=cast(torch.LongTensor, prompts.input_ids[start:stop]),
        position_ids=cast(torch.LongTensor, prompts.position_ids[start:stop]),
        subtree_ends=cast(torch.LongTensor, prompts.subtree_ends[start:stop]),
        prompt_rows=cast(torch.LongTensor, prompts.prompt_rows[inside] - start),
        prompt_columns=cast(torch.LongTensor, prompts.prompt_columns[inside]),
    )


def _encode_rows(text_model: CLIPTextModel, prompts: PackedPrompts, context: torch.Tensor | None) -> torch.Tensor:
    hidden_states = embed_prompts(text_model.embeddings.token_embedding, prompts.input_ids, context)
    # Not `embeddings(...)`: it bounds the length of a row, which here is not that of a prompt.
    hidden_states = hidden_states + text_model.embeddings.position_embedding(prompts.position_ids)
    outputs = text_model.encoder(
        inputs_embeds=hidden_states,
        attention_mask=prompts.attention_mask(hidden_states.dtype),
        is_causal=False,
    )
    read = outputs.last_hidden_state[prompts.prompt_rows, prompts.prompt_columns]
    return text_model.final_layer_norm(read)
