"""Encoding of prompts with a text tower that reads all positions including padding: one row per prompt.

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
"""Maximum number of prompts per forward pass without gradients, to save memory: as many tokens as 64 packed rows."""


def pad_prompts(prompts: Sequence[Sequence[int]], length: int, pad_token_id: int) -> torch.LongTensor:
    """Return token ids padded on the right, (prompts, length), as in the training of SigLIP.

    Args:
        prompts: token ids of each prompt.
        length: number of positions of the text tower.
        pad_token_id: id of the padding token.
    """
    rows = [[*prompt, *[pad_token_id] * (length - len(prompt))] for prompt in prompts]
    return torch.tensor(rows)  # type: ignore[return-value]


def encode_padded_prompts(
    text_model: SiglipTextModel | Siglip2TextModel,
    input_ids: torch.Tensor,
    context: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """Return the pooled output of the text tower for each prompt, differentiable with respect to the context.

    Args:
        text_model: the text tower.
        input_ids: (prompts, positions) padded prompts, on the device of the tower. Ids past the vocabulary index the
            flattened context.
        context: (..., hidden size) context vectors.
        chunk_size: number of prompts to encode at a time. In training the activations of each chunk are recomputed in
            the backward pass, so that only those of one chunk are in memory.

    Returns:
        (prompts, dim), after the head of the tower.
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
    """Return the complete output of the text tower for prompts that are encoded at once.

    Args:
        text_model: as in `encode_padded_prompts`.
        input_ids: as in `encode_padded_prompts`.
        context: as in `encode_padded_prompts`.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (prompts, positions, hidden size), `.pooler_output` (prompts, dim) after the head.
    """
    embedded = embed_prompts(text_model.embeddings.token_embedding, input_ids, context)
    embedded = text_model.embeddings(inputs_embeds=embedded)
    hidden_states = text_model.encoder(inputs_embeds=embedded, **kwargs).last_hidden_state  # no mask: not causal
    hidden_states = text_model.final_layer_norm(hidden_states)
    return BaseModelOutputWithPooling(
        last_hidden_state=hidden_states, pooler_output=text_model.head(hidden_states[:, -1])
    )
