"""Running a causal text tower that is read at its end token, as CLIP's, over packed prompts."""

from typing import Any, cast

import torch
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.prompts.context import embed_prompts
from hf_prompt_models.prompts.packing import PackedPrompts


ROWS_PER_FORWARD = 64
"""Bounds the memory of large ensembles (80 templates of 1000 classes: thousands of rows) where no gradient is kept."""


def encode_prompts(
    text_model: CLIPTextModel,
    prompts: PackedPrompts,
    context: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """The text tower's pooled output for every packed prompt, differentiable with respect to the context.

    Args:
        text_model: the tower, of a backbone that packs prompts.
        prompts: the packed prompts, on the tower's device. Ids past the vocabulary stand for context vectors, in the
            order of the flattened context.
        context: (..., hidden size) context vectors.
        chunk_size: how many prompts to encode at a time, at least a row of them. In training each chunk's activations
            are computed again in the backward pass, so that those of one chunk alone are ever held.

    Returns:
        (prompts, hidden size), before the projection.
    """
    if text_model.config._attn_implementation not in ("eager", "sdpa"):
        text_model.set_attn_implementation("sdpa")  # packed rows need a 4-D mask, which flash attention does not take
    num_rows, rows = len(prompts.input_ids), ROWS_PER_FORWARD
    if chunk_size is not None:
        rows = max(chunk_size // int(prompts.prompt_rows.bincount().max()), 1)
    elif torch.is_grad_enabled():
        rows = num_rows
    if rows >= num_rows and chunk_size is None:
        return _encode_rows(text_model, prompts, context)
    chunks = []
    for start in range(0, num_rows, rows):
        arguments = (text_model, _rows(prompts, start, start + rows), context)
        if torch.is_grad_enabled():
            chunks.append(checkpoint(_encode_rows, *arguments, use_reentrant=False))
        else:
            chunks.append(_encode_rows(*arguments))
    # Each chunk of rows yields its own prompts, in order: one gather restores the order of all.
    order = torch.argsort(prompts.prompt_rows // rows, stable=True)
    return torch.cat(chunks)[torch.argsort(order)]


@capture_outputs(tie_last_hidden_states=False)
def run_prompts_apart(
    text_model: CLIPTextModel,
    input_ids: torch.Tensor,
    lengths: torch.Tensor,
    context: torch.Tensor | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """The text tower's complete output with a row for each prompt, where hidden states or attentions are asked for.

    Args:
        text_model: the tower, of a backbone that packs prompts.
        input_ids: (prompts, length) prompts padded on the right; ids past the vocabulary stand for context vectors.
        lengths: (prompts,) tokens of each prompt.
        context: (..., hidden size) context vectors.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (prompts, length, hidden size), `.pooler_output` (prompts, hidden size) before the
        projection.
    """
    embedded = embed_prompts(text_model.embeddings.token_embedding, input_ids, context)
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    embedded = embedded + text_model.embeddings.position_embedding(positions)
    mask = create_causal_mask(
        config=text_model.config, inputs_embeds=embedded, attention_mask=None, past_key_values=None
    )
    outputs = text_model.encoder(inputs_embeds=embedded, attention_mask=mask, is_causal=True, **kwargs)
    hidden_states = text_model.final_layer_norm(outputs.last_hidden_state)
    pooled = hidden_states[torch.arange(len(lengths), device=lengths.device), lengths - 1]
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


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
    attention_mask = prompts.attention_mask(hidden_states.dtype)
    *layers, last = text_model.encoder.layers
    for layer in layers:
        hidden_states = layer(hidden_states, attention_mask, is_causal=False)
    # The last layer's feed-forward part is needed only where a prompt is read.
    attended, _ = last.self_attn(last.layer_norm1(hidden_states), attention_mask=attention_mask, is_causal=False)
    read = (hidden_states + attended)[prompts.prompt_rows, prompts.prompt_columns]
    return text_model.final_layer_norm(read + last.mlp(last.layer_norm2(read)))
