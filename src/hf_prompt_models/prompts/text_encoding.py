"""Encoding of packed prompts with a causal text tower that is read at the end token, such as CLIP's."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.prompts.context import embed_prompts, replace_virtual_tokens
from hf_prompt_models.prompts.packing import PackedPrompts


ROWS_PER_FORWARD = 64
"""Maximum number of rows per forward pass without gradients, because large ensembles have thousands of rows."""


def encode_prompts(
    text_model: CLIPTextModel,
    prompts: PackedPrompts,
    context: torch.Tensor | None = None,
    chunk_size: int | None = None,
    layer_context: Mapping[int, torch.Tensor] | None = None,
    first_layer: int = 0,
) -> torch.Tensor:
    """Return the pooled output of the text tower for each packed prompt, differentiable with respect to the context.

    Args:
        text_model: the text tower of a backbone that packs prompts.
        prompts: packed prompts, on the device of the tower. Ids past the vocabulary index the flattened context.
        context: (..., hidden size) context vectors.
        chunk_size: number of prompts to encode at a time, at least one row. In training the activations of each chunk
            are recomputed in the backward pass, so that only those of one chunk are in memory.
        layer_context: deep prompts. `{i: vectors}` replaces the virtual tokens at the input of layer `i`, counted from
            0, by vectors with the layout of the context.
        first_layer: first layer in which other tokens attend to the virtual tokens. The layers before it compute the
            same as without virtual tokens.

    Returns:
        (prompts, hidden size), before the projection.
    """
    if text_model.config._attn_implementation not in ("eager", "sdpa"):
        text_model.set_attn_implementation("sdpa")  # packed rows need a 4D mask, which flash attention lacks
    deep = (layer_context or {}, first_layer)
    if torch.compiler.is_exporting():  # the number of rows may depend on the batch
        return _encode_rows(text_model, prompts, context, *deep)
    num_rows, rows = len(prompts.input_ids), ROWS_PER_FORWARD
    if chunk_size is not None:
        rows = max(chunk_size // int(prompts.prompt_rows.bincount().max()), 1)
    elif torch.is_grad_enabled():
        rows = num_rows
    if rows >= num_rows and chunk_size is None:
        return _encode_rows(text_model, prompts, context, *deep)
    chunks = []
    for start in range(0, num_rows, rows):
        arguments = (text_model, _rows(prompts, start, start + rows), context, *deep)
        if torch.is_grad_enabled():
            chunks.append(checkpoint(_encode_rows, *arguments, use_reentrant=False))
        else:
            chunks.append(_encode_rows(*arguments))
    # Each chunk of rows returns its own prompts in order; one gather restores the order of all prompts.
    order = torch.argsort(prompts.prompt_rows // rows, stable=True)
    return torch.cat(chunks)[torch.argsort(order)]


@capture_outputs(tie_last_hidden_states=False)
def run_prompts_apart(
    text_model: CLIPTextModel,
    prompts: PackedPrompts,
    context: torch.Tensor | None = None,
    layer_context: Mapping[int, torch.Tensor] | None = None,
    first_layer: int = 0,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Return the complete output of the text tower, for hidden states or attentions.

    Args:
        text_model: the text tower of a backbone that packs prompts.
        prompts: prompts in separate rows, as returned by `lay_out_apart`.
        context: as in `encode_prompts`.
        layer_context: as in `encode_prompts`.
        first_layer: as in `encode_prompts`.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (prompts, length, hidden size), `.pooler_output` (prompts, hidden size) before the
        projection.
    """
    hidden_states = _embed_rows(text_model, prompts, context)
    masks = _attention_masks(text_model, prompts, hidden_states.dtype, first_layer)
    for index, (layer, mask) in enumerate(zip(text_model.encoder.layers, masks, strict=True)):
        hidden_states = _with_prompts(text_model, prompts, hidden_states, (layer_context or {}).get(index))
        hidden_states = layer(hidden_states, mask, is_causal=False)
    hidden_states = text_model.final_layer_norm(hidden_states)
    pooled = hidden_states[prompts.prompt_rows, prompts.prompt_columns]
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


def _encode_rows(
    text_model: CLIPTextModel,
    prompts: PackedPrompts,
    context: torch.Tensor | None,
    layer_context: Mapping[int, torch.Tensor],
    first_layer: int,
) -> torch.Tensor:
    hidden_states = _embed_rows(text_model, prompts, context)
    masks = _attention_masks(text_model, prompts, hidden_states.dtype, first_layer)
    *earlier, last = text_model.encoder.layers
    for index, layer in enumerate(earlier):
        hidden_states = _with_prompts(text_model, prompts, hidden_states, layer_context.get(index))
        hidden_states = layer(hidden_states, masks[index], is_causal=False)
    hidden_states = _with_prompts(text_model, prompts, hidden_states, layer_context.get(len(earlier)))
    # The feed-forward part of the last layer is needed only at the tokens at which prompts are read.
    attended, _ = last.self_attn(last.layer_norm1(hidden_states), attention_mask=masks[-1], is_causal=False)
    read = (hidden_states + attended)[prompts.prompt_rows, prompts.prompt_columns]
    return text_model.final_layer_norm(read + last.mlp(last.layer_norm2(read)))


def _embed_rows(text_model: CLIPTextModel, prompts: PackedPrompts, context: torch.Tensor | None) -> torch.Tensor:
    hidden_states = embed_prompts(text_model.embeddings.token_embedding, prompts.input_ids, context)
    # Not `embeddings(...)`, which limits the length of a row: packed rows are longer than prompts.
    return hidden_states + text_model.embeddings.position_embedding(prompts.position_ids)


def _attention_masks(
    text_model: CLIPTextModel, prompts: PackedPrompts, dtype: torch.dtype, first_layer: int
) -> list[torch.Tensor]:
    """Return the mask of each layer; before `first_layer` no other token attends to the virtual tokens."""
    mask = early = prompts.attention_mask(dtype)
    if first_layer:
        early = prompts.attention_mask(
            dtype, prompts.input_ids >= text_model.embeddings.token_embedding.num_embeddings
        )
    return [early if index < first_layer else mask for index in range(len(text_model.encoder.layers))]


def _with_prompts(
    text_model: CLIPTextModel, prompts: PackedPrompts, hidden_states: torch.Tensor, vectors: torch.Tensor | None
) -> torch.Tensor:
    """Return the input of a layer with its deep prompts inserted, if it has any."""
    if vectors is None:
        return hidden_states
    vocab_size = text_model.embeddings.token_embedding.num_embeddings
    return replace_virtual_tokens(hidden_states, prompts.input_ids, vocab_size, vectors)
