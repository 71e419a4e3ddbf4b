"""Encoding of prompts with a bidirectional text tower: one row per prompt.

SigLIP's text tower was trained on text padded to its full length, attends to the padding, and is read at the last
position. The towers of Chinese-CLIP, AltCLIP and ALIGN are BERTs: they do not attend to padding and are read at the
first position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, Siglip2TextModel, SiglipTextModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.prompts.context import embed_prompts


PROMPTS_PER_FORWARD = 256
"""Maximum number of prompts per forward pass without gradients, to save memory: as many tokens as 64 packed rows."""


@dataclass(frozen=True)
class PaddedPrompts:
    """Prompts in separate rows, padded on the right.

    Attributes:
        input_ids: (prompts, length) token ids. Ids past the vocabulary index the flattened context.
        attention_mask: (prompts, length), 1 for tokens and 0 for padding; `None` if the tower attends to padding.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> "PaddedPrompts":
        """Return the prompts on another device."""
        mask = self.attention_mask
        return PaddedPrompts(self.input_ids.to(device), None if mask is None else mask.to(device))

    def split(self, size: int) -> "Iterator[PaddedPrompts]":
        """Yield `size` prompts at a time; the last ones may be fewer."""
        for start in range(0, len(self.input_ids), size):
            rows, mask = slice(start, start + size), self.attention_mask
            yield PaddedPrompts(self.input_ids[rows], None if mask is None else mask[rows])

    def repeat(self, times: int, vocab_size: int, num_virtual_tokens: int) -> "PaddedPrompts":
        """Repeat the prompts, each time with different context vectors, as `PackedPrompts.repeat` does."""
        offsets = torch.arange(times, device=self.input_ids.device)[:, None, None] * num_virtual_tokens
        input_ids = torch.where(self.input_ids >= vocab_size, self.input_ids + offsets, self.input_ids)
        mask = self.attention_mask
        return PaddedPrompts(input_ids.flatten(0, 1), None if mask is None else mask.repeat(times, 1))


def pad_prompts(prompts: Sequence[Sequence[int]], length: int, pad_token_id: int) -> PaddedPrompts:
    """Return prompts padded to a given length, for a tower that attends to padding.

    Args:
        prompts: token ids of each prompt.
        length: number of positions of the text tower.
        pad_token_id: id of the padding token.
    """
    return PaddedPrompts(torch.tensor([[*prompt, *[pad_token_id] * (length - len(prompt))] for prompt in prompts]))


def pad_and_mask_prompts(prompts: Sequence[Sequence[int]]) -> PaddedPrompts:
    """Return prompts padded to the longest, for a tower that does not attend to padding.

    Args:
        prompts: token ids of each prompt.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    longest = int(lengths.max())
    mask = (torch.arange(longest) < lengths[:, None]).long()
    return PaddedPrompts(pad_prompts(prompts, longest, 0).input_ids, mask)


def encode_padded_prompts(
    text_model: PreTrainedModel,
    prompts: PaddedPrompts,
    context: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> torch.Tensor:
    """Return the pooled output of the text tower for each prompt, differentiable with respect to the context.

    Args:
        text_model: the text tower.
        prompts: padded prompts, on the device of the tower.
        context: (..., hidden size) context vectors.
        chunk_size: number of prompts to encode at a time. In training the activations of each chunk are recomputed in
            the backward pass, so that only those of one chunk are in memory.

    Returns:
        (prompts, dim), as `.pooler_output` of `run_padded_prompts`.
    """
    if torch.is_grad_enabled() and chunk_size is None:
        return _encode_rows(text_model, prompts, context)
    chunks = []
    for rows in prompts.split(chunk_size or PROMPTS_PER_FORWARD):
        if torch.is_grad_enabled():
            chunks.append(checkpoint(_encode_rows, text_model, rows, context, use_reentrant=False))
        else:
            chunks.append(_encode_rows(text_model, rows, context))
    return torch.cat(chunks)


def _encode_rows(text_model: PreTrainedModel, prompts: PaddedPrompts, context: torch.Tensor | None) -> torch.Tensor:
    return run_padded_prompts(text_model, prompts, context).pooler_output


def run_padded_prompts(
    text_model: PreTrainedModel,
    prompts: PaddedPrompts,
    context: torch.Tensor | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Return the complete output of the text tower for prompts that are encoded at once.

    Args:
        text_model: as in `encode_padded_prompts`.
        prompts: as in `encode_padded_prompts`.
        context: as in `encode_padded_prompts`.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (prompts, positions, hidden size). `.pooler_output` (prompts, dim): for SigLIP the last
        position after the head of the tower, for others the first position, before the projection.
    """
    embedded = embed_prompts(text_model.get_input_embeddings(), prompts.input_ids, context)
    if prompts.attention_mask is None:
        return _run_to_last_position(text_model, embedded, return_dict=True, **kwargs)
    outputs = text_model(inputs_embeds=embedded, attention_mask=prompts.attention_mask, return_dict=True, **kwargs)
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=outputs.last_hidden_state[:, 0],
        hidden_states=outputs.hidden_states,
        attentions=outputs.attentions,
    )


@capture_outputs(tie_last_hidden_states=False)
def _run_to_last_position(
    text_model: SiglipTextModel | Siglip2TextModel, embedded: torch.Tensor, **kwargs: Any
) -> BaseModelOutputWithPooling:
    embedded = text_model.embeddings(inputs_embeds=embedded)
    hidden_states = text_model.encoder(inputs_embeds=embedded, **kwargs).last_hidden_state  # no mask: not causal
    hidden_states = text_model.final_layer_norm(hidden_states)
    return BaseModelOutputWithPooling(
        last_hidden_state=hidden_states, pooler_output=text_model.head(hidden_states[:, -1])
    )
