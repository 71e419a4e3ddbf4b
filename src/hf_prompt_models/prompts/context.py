"""Learnable context: vectors that replace hand-written words in a prompt (CoOp, arXiv 2109.01134, §3.2).

In the token ids of a prompt a context vector is a *virtual token*, an id past the end of the vocabulary. A prompt with
learned context is therefore a list of ids like any other, and packing does not need to know about it.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F


CLASS_TOKEN_POSITIONS = ("end", "middle", "front")


class LearnableContext(nn.Module):
    """Context vectors of a prompt.

    Args:
        n_ctx: number of vectors in a prompt.
        width: hidden size of the text tower.
        num_classes: for class-specific context, the number of classes; `None` for one context that all classes share.

    Attributes:
        context: (n_ctx, width), or (classes, n_ctx, width) if class-specific.
    """

    def __init__(self, n_ctx: int, width: int, num_classes: int | None = None):
        super().__init__()
        shape = (n_ctx, width) if num_classes is None else (num_classes, n_ctx, width)
        self.context = nn.Parameter(torch.empty(shape))


def embed_prompts(
    token_embedding: nn.Embedding, input_ids: torch.Tensor, context: torch.Tensor | None = None
) -> torch.Tensor:
    """Embed token ids, with virtual tokens as context vectors.

    Args:
        token_embedding: token embedding of the text tower.
        input_ids: (rows, row length); ids past the vocabulary index the flattened context.
        context: (..., hidden size) context vectors, differentiable.

    Returns:
        (rows, row length, hidden size)
    """
    if context is None:
        return token_embedding(input_ids)
    vocab_size = token_embedding.num_embeddings
    embedded = token_embedding(input_ids.masked_fill(input_ids >= vocab_size, 0))
    return replace_virtual_tokens(embedded, input_ids, vocab_size, context)


def replace_virtual_tokens(
    hidden_states: torch.Tensor, input_ids: torch.Tensor, vocab_size: int, vectors: torch.Tensor
) -> torch.Tensor:
    """Replace the hidden states of virtual tokens by vectors.

    Args:
        hidden_states: (rows, row length, hidden size)
        input_ids: (rows, row length); ids past the vocabulary index the flattened vectors.
        vocab_size: vocabulary size of the text tower.
        vectors: (..., hidden size), differentiable; rounded to the precision of the hidden states.

    Returns:
        (rows, row length, hidden size)
    """
    places = (input_ids - vocab_size).clamp(min=0)
    flat = vectors.reshape(-1, vectors.shape[-1]).to(hidden_states.dtype)
    # Not an assignment to the virtual tokens, because a compiler would not know their number.
    return torch.where((input_ids >= vocab_size)[..., None], F.embedding(places, flat), hidden_states)


def insert_context(
    prompt_ids: Sequence[int],
    name_length: int,
    context_ids: Sequence[int],
    class_token_position: str,
    start_tokens: int = 1,
) -> list[int]:
    """Insert context ids into a tokenized class name.

    Args:
        prompt_ids: `start, name, ".", end` as returned by the tokenizer (`name, end` for SigLIP).
        name_length: number of tokens of the name. A name that ends in punctuation may share its last token with the
            full stop; that token then moves with the name, as in the released code.
        context_ids: virtual tokens of the context of this class.
        class_token_position: "end" (`start context name . end`), "middle" (the first half of the context before the
            name, the smaller half if `n_ctx` is odd) or "front" (`start name context . end`).
        start_tokens: number of start tokens, 0 or 1.
    """
    # Punctuation and the full stop may merge into fewer tokens, but never with the end token.
    name_end = min(start_tokens + name_length, len(prompt_ids) - 1)
    start, name, rest = prompt_ids[:start_tokens], prompt_ids[start_tokens:name_end], prompt_ids[name_end:]
    before = {"end": len(context_ids), "middle": len(context_ids) // 2, "front": 0}[class_token_position]
    return [*start, *context_ids[:before], *name, *context_ids[before:], *rest]
