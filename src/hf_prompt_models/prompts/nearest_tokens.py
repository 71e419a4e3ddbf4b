"""The vocabulary's tokens nearest to learned context vectors (the released code of CoOp, `interpret_prompt.py`)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase


VECTORS_AT_ONCE = 256
"""50 MB of distances to CLIP's 49,408 tokens."""
SPARE_CANDIDATES = 8
"""Taken beside the nearest, because the fast distances that choose them are rounded."""
SAMPLED_TOKENS = 256

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class NearToken:
    """
    Args:
        text: the token as it is read; one that ends inside a word is followed by "…".
        id: its id.
        score: its distance ("euclidean"), or its similarity ("cosine").
    """

    text: str
    id: int
    score: float


def nearest_tokens(
    context: torch.Tensor,
    embeddings: torch.Tensor,
    tokenizer: PreTrainedTokenizerBase,
    top_k: int = 5,
    metric: Metric = "euclidean",
) -> list[list[NearToken]]:
    """The tokens nearest to each context vector, nearest first; special tokens are left out.

    Args:
        context: (..., width) vectors.
        embeddings: (vocabulary, width), the backbone's token embeddings.
        tokenizer: the backbone's.
        top_k: tokens for each vector.
        metric: "euclidean" (as the released code) or "cosine".

    Returns:
        A list for each vector, in the order of `context.reshape(-1, width)`.

    Raises:
        ValueError: if the widths differ, or for fewer than one token or more than there are.
    """
    if context.shape[-1] != embeddings.shape[-1]:
        raise ValueError(f"The context is {context.shape[-1]} wide, the token embeddings {embeddings.shape[-1]}.")
    ids = _ordinary_ids(embeddings, tokenizer)
    if not 1 <= top_k <= len(ids):
        raise ValueError(f"top_k is a number of tokens from 1 to {len(ids)}; got {top_k}.")
    scores, places = _nearest(context.reshape(-1, context.shape[-1]), embeddings[ids], top_k, metric)
    texts: dict[int, str] = {}
    result = []
    for vector_scores, vector_ids in zip(scores.tolist(), ids[places].tolist(), strict=True):
        for token_id in vector_ids:
            texts.setdefault(token_id, _readable(tokenizer, token_id))
        result.append([NearToken(texts[i], i, score) for i, score in zip(vector_ids, vector_scores, strict=True)])
    return result


def typical_nearest_score(
    embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerBase, metric: Metric = "euclidean"
) -> float:
    """What a vector's nearest token is to be measured by: the median, over 256 tokens, of a token's to its nearest."""
    ids = _ordinary_ids(embeddings, tokenizer)
    sample = torch.linspace(0, len(ids) - 1, min(SAMPLED_TOKENS, len(ids))).round().long()
    scores, _ = _nearest(embeddings[ids[sample]], embeddings[ids], 2, metric)
    return scores[:, 1].median().item()  # one of the two is the token itself, or has its very embedding


def _ordinary_ids(embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    special = set(tokenizer.all_special_ids)
    return torch.tensor([i for i in range(min(len(tokenizer), len(embeddings))) if i not in special])


@torch.no_grad()
def _nearest(
    vectors: torch.Tensor, table: torch.Tensor, top_k: int, metric: Metric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and rows of the `top_k` nearest rows of the table, (vectors, top_k) each, on the CPU."""
    vectors, table = vectors.detach().float().cpu(), table.detach().float().cpu()
    if metric == "cosine":  # between unit vectors the nearest is the most similar
        vectors, table = F.normalize(vectors, dim=-1), F.normalize(table, dim=-1)
    half_squares = table.square().sum(-1) / 2
    candidates = min(top_k + SPARE_CANDIDATES, len(table))
    all_scores, all_places = [], []
    for chunk in vectors.split(VECTORS_AT_ONCE):
        rough = torch.addmm(half_squares, chunk, table.T, alpha=-1)  # half the squared distance, but for a constant
        places = rough.topk(candidates, largest=False).indices.sort().values  # so that equal ones come by id
        scores = exact = (table[places] - chunk[:, None]).norm(dim=-1)
        if metric == "cosine":
            scores = (table[places] * chunk[:, None]).sum(-1)
        order = exact.argsort(stable=True)[:, :top_k]
        all_scores.append(scores.gather(1, order))
        all_places.append(places.gather(1, order))
    return torch.cat(all_scores), torch.cat(all_places)


def _readable(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    token, text = str(tokenizer.convert_ids_to_tokens(token_id)), str(tokenizer.decode([token_id])).strip()
    ends_word = token.endswith("</w>")
    if not text or "\N{REPLACEMENT CHARACTER}" in text:  # part of a character, which only the vocabulary can spell
        text = token.removesuffix("</w>")
    return text if ends_word else f"{text}…"
