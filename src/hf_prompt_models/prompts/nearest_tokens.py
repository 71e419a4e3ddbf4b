"""Search for the tokens nearest to learned context vectors (`interpret_prompt.py` in the released code of CoOp)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase


VECTORS_AT_ONCE = 256
"""Number of vectors per chunk: 50 MB of distances to CLIP's 49,408 tokens."""
SPARE_CANDIDATES = 8
"""Number of additional candidates, because the fast distances that select candidates are rounded."""
SAMPLED_TOKENS = 256

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class NearToken:
    """Token near to a context vector.

    Args:
        text: readable text of the token. CLIP's vocabulary marks the ends of words: "…" follows a token that does not
            end a word. Other vocabularies mark where words begin: "…" precedes a token that does not begin a word.
        id: token id.
        score: its distance ("euclidean") or similarity ("cosine").
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
    """Return the tokens nearest to each context vector, nearest first, without special tokens.

    Args:
        context: (..., width) vectors.
        embeddings: (vocabulary, width) token embeddings of the backbone.
        tokenizer: the backbone's tokenizer.
        top_k: number of tokens for each vector.
        metric: "euclidean" (as in the released code) or "cosine".

    Returns:
        A list for each vector, in the order of `context.reshape(-1, width)`.

    Raises:
        ValueError: if the widths differ, or `top_k` is not from 1 to the number of tokens.
    """
    if context.shape[-1] != embeddings.shape[-1]:
        raise ValueError(
            f"The context has {context.shape[-1]} dimensions, but the token embeddings have "
            f"{embeddings.shape[-1]}. Pass the embeddings of the backbone that the context was trained for."
        )
    ids = _ordinary_ids(embeddings, tokenizer)
    if not 1 <= top_k <= len(ids):
        raise ValueError(f"Expected top_k from 1 to {len(ids)}, got {top_k}.")
    scores, places = _nearest(context.reshape(-1, context.shape[-1]), embeddings[ids], top_k, metric)
    mark = _word_mark(tokenizer)
    texts: dict[int, str] = {}
    result = []
    for vector_scores, vector_ids in zip(scores.tolist(), ids[places].tolist(), strict=True):
        for token_id in vector_ids:
            texts.setdefault(token_id, _readable(tokenizer, token_id, mark))
        result.append([NearToken(texts[i], i, score) for i, score in zip(vector_ids, vector_scores, strict=True)])
    return result


def typical_nearest_score(
    embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerBase, metric: Metric = "euclidean"
) -> float:
    """Return a typical score of nearest tokens: the median, over 256 tokens, of the score of their nearest token.

    Args:
        embeddings: (vocabulary, width) token embeddings of the backbone.
        tokenizer: the backbone's tokenizer.
        metric: "euclidean" or "cosine".
    """
    ids = _ordinary_ids(embeddings, tokenizer)
    sample = torch.linspace(0, len(ids) - 1, min(SAMPLED_TOKENS, len(ids))).round().long()
    scores, _ = _nearest(embeddings[ids[sample]], embeddings[ids], 2, metric)
    return scores[:, 1].median().item()  # the first is the token itself, or one with an equal embedding


def _ordinary_ids(embeddings: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    special = set(tokenizer.all_special_ids)
    return torch.tensor([i for i in range(min(len(tokenizer), len(embeddings))) if i not in special])


@torch.no_grad()
def _nearest(
    vectors: torch.Tensor, table: torch.Tensor, top_k: int, metric: Metric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores and indices of the `top_k` nearest rows of the table, each (vectors, top_k), on the CPU."""
    vectors, table = vectors.detach().float().cpu(), table.detach().float().cpu()
    if metric == "cosine":  # the nearest unit vector is the most similar one
        vectors, table = F.normalize(vectors, dim=-1), F.normalize(table, dim=-1)
    half_squares = table.square().sum(-1) / 2
    candidates = min(top_k + SPARE_CANDIDATES, len(table))
    all_scores, all_places = [], []
    for chunk in vectors.split(VECTORS_AT_ONCE):
        rough = torch.addmm(half_squares, chunk, table.T, alpha=-1)  # half of the squared distance, minus a constant
        places = rough.topk(candidates, largest=False).indices.sort().values  # equal ones by id
        scores = exact = (table[places] - chunk[:, None]).norm(dim=-1)
        if metric == "cosine":
            scores = (table[places] * chunk[:, None]).sum(-1)
        order = exact.argsort(stable=True)[:, :top_k]
        all_scores.append(scores.gather(1, order))
        all_places.append(places.gather(1, order))
    return torch.cat(all_scores), torch.cat(all_places)


def _word_mark(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the mark of a vocabulary: "</w>" at the end of words, "▁" at their beginning, or "##" inside words."""
    tokens = [token for token in tokenizer.get_vocab() if len(token) > 1]
    if any(token.endswith("</w>") for token in tokens):
        return "</w>"
    return "▁" if any(token.startswith("▁") for token in tokens) else "##"


def _readable(tokenizer: PreTrainedTokenizerBase, token_id: int, mark: str) -> str:
    token, text = str(tokenizer.convert_ids_to_tokens(token_id)), str(tokenizer.decode([token_id])).strip()
    if not text or "\N{REPLACEMENT CHARACTER}" in text:  # part of a character: use the vocabulary entry
        text = token.removesuffix("</w>")
    if mark == "</w>":
        return text if token.endswith(mark) else f"{text}…"
    begins_word = token.startswith(mark) if mark == "▁" else not token.startswith(mark)
    return text if begins_word else f"…{text.removeprefix('##')}"
