"""The nearest tokens equal those of a loop over the vocabulary."""

import pytest
import torch
from transformers import BertTokenizer, PreTrainedTokenizerBase

from hf_prompt_models.prompts import nearest_tokens as module
from hf_prompt_models.prompts.nearest_tokens import Metric, nearest_tokens, typical_nearest_score
from tests.stand_ins import clip_tokenizer, siglip_tokenizer
from tests.stand_ins_bert import vocabulary_with


TOKENIZER = clip_tokenizer()
SPECIAL = {530, 531}


def score(one: torch.Tensor, other: torch.Tensor, metric: Metric) -> float:
    if metric == "cosine":
        return float(one.double() @ other.double() / (one.double().norm() * other.double().norm()))
    return float((one.double() - other.double()).square().sum().sqrt())


def slow_nearest(vector: torch.Tensor, table: torch.Tensor, metric: Metric) -> list[tuple[float, int]]:
    """(score, id) of every token that is not special, nearest first, equal ones by id."""
    scored = [(score(vector, table[i], metric), i) for i in range(len(TOKENIZER)) if i not in SPECIAL]
    return sorted(scored, key=lambda pair: (-pair[0] if metric == "cosine" else pair[0], pair[1]))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_nearest_tokens_are_those_of_a_slow_loop(
    shape: tuple[int, ...], metric: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VECTORS_AT_ONCE", 5)  # twelve vectors come in three parts, the last one short
    table = torch.randn(540, 8)  # as padded tables have it, more rows than the tokenizer has tokens
    table[532:] = 0
    context = torch.randn(*shape, 8) * 0.3
    found = nearest_tokens(context, table, TOKENIZER, top_k=4, metric=metric)
    assert len(found) == context[..., 0].numel()
    for vector, tokens in zip(context.reshape(-1, 8), found, strict=True):
        expected = slow_nearest(vector, table, metric)[:4]
        assert [token.id for token in tokens] == [token_id for _, token_id in expected]
        assert [token.score for token in tokens] == pytest.approx([value for value, _ in expected], abs=1e-6)


def test_a_tokens_own_embedding_is_at_distance_0_and_equal_ones_come_by_id() -> None:
    table = torch.randn(532, 16) * 100  # large, so that a distance by way of squares would miss 0 by far
    equal = [9, 77, 150, 222, 301, 399, 400]
    table[equal] = table[400].clone()
    found = nearest_tokens(table[[400, 3]], table, TOKENIZER, top_k=7)
    assert [(token.id, token.score) for token in found[0]] == [(token_id, 0.0) for token_id in equal]
    assert (found[1][0].id, found[1][0].score) == (3, 0.0)


def test_special_tokens_are_left_out() -> None:
    table = torch.randn(532, 8)
    for metric in ("euclidean", "cosine"):
        found = nearest_tokens(table[[530, 531]], table, TOKENIZER, top_k=530, metric=metric)
        assert [sorted(token.id for token in tokens) for tokens in found] == [list(range(530))] * 2


def test_tokens_are_readable() -> None:
    table = torch.randn(532, 8)
    ids = TOKENIZER.convert_tokens_to_ids(["cat</w>", "ca", ").</w>", "Ã", "©</w>"])
    texts = [tokens[0].text for tokens in nearest_tokens(table[ids], table, TOKENIZER, top_k=1)]
    assert texts == ["cat", "ca…", ").", "Ã…", "©"]


@pytest.mark.parametrize(
    ("tokenizer", "tokens", "expected"),
    [
        (BertTokenizer(vocab=vocabulary_with()), ["photo", "##ing", "##s", "."], ["photo", "…ing", "…s", "."]),
        (siglip_tokenizer(), ["▁photo", "photo", "ing", "▁of"], ["photo", "…photo", "…ing", "of"]),
    ],
)
def test_parts_of_words_are_marked_where_the_vocabulary_marks_them(
    tokenizer: PreTrainedTokenizerBase, tokens: list[str], expected: list[str]
) -> None:
    table = torch.randn(max(tokenizer.get_vocab().values()) + 1, 8)
    vectors = table[tokenizer.convert_tokens_to_ids(tokens)]
    assert [found[0].text for found in nearest_tokens(vectors, table, tokenizer, top_k=1)] == expected


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_typical_score_is_the_median_of_tokens_to_their_nearest_other(metric: Metric) -> None:
    table = torch.randn(532, 8)
    table[0] = table[1]  # the nearest other one of each is at distance 0
    sampled = torch.linspace(0, 529, 256).round().long().tolist()
    expected = [next(value for value, other in slow_nearest(table[i], table, metric) if other != i) for i in sampled]
    expected_median = torch.tensor(expected).median().item()
    assert typical_nearest_score(table, TOKENIZER, metric) == pytest.approx(expected_median, abs=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    table = torch.randn(532, 8)
    with pytest.raises(ValueError, match="7 dimensions"):
        nearest_tokens(torch.randn(2, 7), table, TOKENIZER)
    for top_k in (0, 531):
        with pytest.raises(ValueError, match="from 1 to 530"):
            nearest_tokens(torch.randn(2, 8), table, TOKENIZER, top_k=top_k)
