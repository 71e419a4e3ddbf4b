"""Packing is exact: a prompt in a packed row has the same features as the prompt alone."""

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTextConfig, CLIPTextModel

from hf_prompt_models.prompts.packing import PackedPrompts, pack_prompts
from hf_prompt_models.prompts.text_encoding import encode_prompts


VOCABULARY, POSITIONS = 8, 12

# Few letters and short prompts: beginnings are shared, prompts repeat, and some begin others.
prompt_lists = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=POSITIONS), min_size=1, max_size=12
)
row_lengths = st.integers(1, 30)


@functools.cache
def text_tower() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=POSITIONS,
        bos_token_id=None,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    tower = CLIPTextModel(config).eval().requires_grad_(False)
    for parameter in tower.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=0.5)
    return tower


def alone(ids: list[int], context: torch.Tensor | None = None) -> torch.Tensor:
    """One prompt through transformers' own forward, read at its last token."""
    tower = text_tower()
    words = tower.embeddings.token_embedding.weight
    table = words if context is None else torch.cat([words, context])
    hook = tower.embeddings.token_embedding.register_forward_hook(lambda *_: table[torch.tensor([ids])])
    try:
        return tower(input_ids=torch.zeros(1, len(ids), dtype=torch.long)).last_hidden_state[0, -1]
    finally:
        hook.remove()


def visible_columns(packed: PackedPrompts, row: int, column: int) -> list[int]:
    """The columns that the mask lets a token see."""
    mask = packed.attention_mask(torch.float32)
    assert mask.shape == (len(packed.input_ids), 1, packed.input_ids.shape[1], packed.input_ids.shape[1])
    assert set(mask.unique().tolist()) <= {0.0, torch.finfo(torch.float32).min}
    return (mask[row, 0, column] == 0).nonzero().flatten().tolist()


@given(prompts=prompt_lists, row_length=row_lengths)
def test_a_prompt_is_read_back_from_what_its_last_token_sees(prompts: list[list[int]], row_length: int) -> None:
    packed = pack_prompts(prompts, row_length)
    for prompt, row, column in zip(prompts, packed.prompt_rows, packed.prompt_columns, strict=True):
        columns = visible_columns(packed, row, column)
        assert packed.input_ids[row, columns].tolist() == prompt
        assert packed.position_ids[row, columns].tolist() == list(range(len(prompt)))


@given(prompts=prompt_lists, row_length=row_lengths)
def test_every_token_sees_just_its_own_beginning(prompts: list[list[int]], row_length: int) -> None:
    """For each place along each prompt, not the last alone: features of later layers pass through all of them."""
    packed = pack_prompts(prompts, row_length)
    for row, column in zip(packed.prompt_rows, packed.prompt_columns, strict=True):
        columns = visible_columns(packed, row, column)
        for depth, place in enumerate(columns):
            assert visible_columns(packed, row, place) == columns[: depth + 1]


@given(prompts=prompt_lists, row_length=row_lengths)
def test_padding_is_seen_by_itself_alone(prompts: list[list[int]], row_length: int) -> None:
    packed = pack_prompts(prompts, row_length)
    used = set()
    for row, column in zip(packed.prompt_rows, packed.prompt_columns, strict=True):
        used |= {(int(row), place) for place in visible_columns(packed, row, column)}
    rows, columns = packed.input_ids.shape
    for row in range(rows):
        for column in range(columns):
            if (row, column) not in used:
                assert visible_columns(packed, row, column) == [column]


@given(prompts=prompt_lists, row_length=row_lengths)
def test_rows_keep_to_their_length(prompts: list[list[int]], row_length: int) -> None:
    packed = pack_prompts(prompts, row_length)
    assert packed.input_ids.shape[1] <= max(row_length, *map(len, prompts))


@given(prompts=prompt_lists, prompts_per_row=st.integers(1, 4))
def test_rows_keep_to_their_number_of_prompts(prompts: list[list[int]], prompts_per_row: int) -> None:
    packed = pack_prompts(prompts, prompts_per_row=prompts_per_row)
    assert packed.prompt_rows.bincount().max() <= prompts_per_row
    for prompt, row, column in zip(prompts, packed.prompt_rows, packed.prompt_columns, strict=True):
        assert packed.input_ids[row, visible_columns(packed, row, column)].tolist() == prompt


def padding(packed: PackedPrompts) -> float:
    """The share of places that no prompt's path passes through."""
    seen = torch.zeros_like(packed.input_ids, dtype=torch.bool)
    mask = packed.attention_mask(torch.float32)[:, 0] == 0
    for row, column in zip(packed.prompt_rows, packed.prompt_columns, strict=True):
        seen[row] |= mask[row, column]
    return 1 - seen.float().mean().item()


def test_rows_are_filled_evenly() -> None:
    prompts = [[*range(17), 100 + name, 200 + name, 18, 19] for name in range(100)]  # CoOp's, 16 context vectors
    packed = pack_prompts(prompts)
    assert packed.input_ids.numel() <= 17 * 3 + 4 * 102
    assert padding(packed) < 0.02


def test_prompts_that_share_next_to_nothing_get_short_rows() -> None:
    """Class-specific context: long rows would only cost attention."""
    packed = pack_prompts([[0, *range(20 * name + 1, 20 * name + 21)] for name in range(50)])
    assert packed.input_ids.shape[1] <= 2 * 21
    assert packed.input_ids.numel() <= 50 * 21


def test_shared_beginnings_are_laid_out_once() -> None:
    packed = pack_prompts([[1, 2, 3], [1, 2, 4, 5], [1, 2, 3], [1, 2]])
    assert packed.input_ids.tolist() == [[1, 2, 3, 4, 5]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 2, 3]]
    assert packed.prompt_columns.tolist() == [2, 4, 2, 1]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@given(prompts=prompt_lists, row_length=row_lengths)
def test_features_and_gradients_equal_those_of_each_prompt_alone(
    attention: str, prompts: list[list[int]], row_length: int
) -> None:
    tower = text_tower()
    tower.set_attn_implementation(attention)
    generator = torch.Generator().manual_seed(len(prompts))
    context = torch.randn(3, 16, generator=generator, requires_grad=True)
    # The last three letters stand for context vectors.
    with_context = [[token + 3 if token >= VOCABULARY - 3 else token for token in prompt] for prompt in prompts]

    encoded = encode_prompts(tower, pack_prompts(with_context, row_length), context)
    expected = torch.stack([alone(prompt, context) for prompt in with_context])
    torch.testing.assert_close(encoded, expected, rtol=1e-5, atol=1e-5)

    weights = torch.randn(encoded.shape, generator=generator)
    (gradient,) = torch.autograd.grad((encoded * weights).sum(), context)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), context)
    largest = expected_gradient.abs().max().clamp(min=1.0)
    torch.testing.assert_close(gradient / largest, expected_gradient / largest, rtol=0, atol=1e-4)


def test_context_of_any_leading_shape_is_read_in_order() -> None:
    context = torch.randn(2, 2, 16)
    prompts = [[0, VOCABULARY, VOCABULARY + 1], [0, VOCABULARY + 2, VOCABULARY + 3]]
    expected = torch.stack([alone(prompt, context.flatten(0, 1)) for prompt in prompts])
    torch.testing.assert_close(encode_prompts(text_tower(), pack_prompts(prompts), context), expected)


@pytest.mark.parametrize("prompts", [[], [[1, 2], []]])
def test_nothing_to_read_is_refused(prompts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        pack_prompts(prompts)
