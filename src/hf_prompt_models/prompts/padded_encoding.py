"""Running a text tower that reads all of its positions, padding too: a row for each prompt.

SigLIP's text tower is not causal, was trained on text padded to its full length, and is read at the last position.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import Siglip2TextModel, SiglipTextModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.prompts.context import embed_prompts


PROMPTS_PER_FORWARD = 256
"""Bounds the memory of large ensembles: as many tokens as 64 rows of packed prompts, where no gradient is kept."""


def pad_prompts(prompts: Sequence[Sequence[int]], length: int, pad_token_id: int) -> torch.LongTensor:
    """(prompts, length) token ids, padded on the right, as SigLIP was trained."""
    rows = [[*prompt, *[pad_token_id] * (length - len(prompt))] for prompt in prompts]
    return torch.tensor(rows)  # type: ignore[return-value]


def encode_padded_prompts(
    text_model: SiglipTextModel | Siglip2TextModel,
    input_ids: torch.Tensor,
    context: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """The text tower's output for every prompt, differentiable with respect to the context.

    Args:
        text_model: the tower.
        input_ids: (prompts, positions) padded prompts, on the tower's device. Ids past the vocabulary stand for
            context vectors, in the order of the flattened context.
        context: (..., hidden size) context vectors.
        chunk_size: how many prompts to encode at a time. In training each chunk's activations are computed again in
            the backward pass, so that those of one chunk alone are ever held.

    Returns:
        (prompts, dim), after the tower's head.
    """
    if torch.is_grad_enabled() and chunk_size is None:
        return _encode_rows(text_model, input_ids, context)
    chunks = []
    for rows in input_ids.split(chunk_size or PROMPTS_PER_FORWARD):
        if torch.is_grad_enabled():
            chunks.append(checkpoint(_encode_rows, text_model, rows, context, use_reentrant=False))
        else:
            chunks.append(_encode_rows(text_model, rows, context))
    return torch.cat(chunks)


def _encode_rows(
    text_model: SiglipTextModel | Siglip2TextModel, input_ids: torch.Tensor, context: torch.Tensor | None
) -> torch.Tensor:
    return run_padded_prompts(text_model, input_ids, context).pooler_output


@capture_outputs(tie_last_hidden_states=False)
def run_padded_prompts(
    text_model: SiglipTextModel | Siglip2TextModel,
    input_ids: torch.Tensor,
    context: torch.Tensor | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """The text tower's complete output for prompts that are encoded at once.

    Args:
        text_model, input_ids, context: as of `encode_padded_prompts`.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (prompts, positions, hidden size), `.pooler_output` (prompts, dim) after the head.
    """
    embedded = embed_prompts(text_model.embeddings.token_embedding, input_ids, context)
    embedded = text_model.embeddings(inputs_embeds=embedded)
    hidden_states = text_model.encoder(inputs_embeds=embedded, **kwargs).last_hidden_state  # no mask: all see all
    hidden_states = text_model.final_layer_norm(hidden_states)
    return BaseModelOutputWithPooling(
        last_hidden_state=hidden_states, pooler_output=text_model.head(hidden_states[:, -1])
    )
