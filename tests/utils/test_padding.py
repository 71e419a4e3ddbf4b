"""Padded batches, and processing their unpadded positions in chunks."""

import torch
from transformers.modeling_outputs import BaseModelOutput

from hf_prompt_models.utils.padding import pad_cat, pad_entries, pad_stack, run_in_chunks, unpadded_indices


def test_tensors_are_stacked_with_padding_at_their_ends() -> None:
    stacked = pad_stack([torch.ones(1, 3), torch.ones(2, 1)], -1)
    expected = [[[1, 1, 1], [-1, -1, -1]], [[1, -1, -1], [1, -1, -1]]]
    assert stacked.tolist() == expected


def test_tensors_are_concatenated_with_padding_behind_the_first_dimension() -> None:
    assert pad_cat([torch.ones(1, 2), torch.ones(2, 1)]).tolist() == [[1, 1], [1, 0], [1, 0]]


def test_entries_are_found_and_put_back() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    row, column = unpadded_indices(mask)
    assert (row.tolist(), column.tolist()) == ([0, 0, 1], [0, 1, 0])
    values = torch.tensor([[5.0], [6.0], [7.0]])
    assert pad_entries(values, mask)[..., 0].tolist() == [[5, 6, 0], [7, 0, 0]]


def test_chunks_give_the_same_output_and_gradients() -> None:
    weight = torch.randn(5, 3, requires_grad=True)
    sizes = []

    def run(rows: torch.Tensor) -> BaseModelOutput:
        sizes.append(len(rows))
        length = int(rows.max()) + 1  # as of images of different sizes
        return BaseModelOutput(weight[rows].exp(), hidden_states=(weight[rows, None].expand(-1, length, -1),))

    together = run_in_chunks(run, 5, None, weight.device)
    (expected,) = torch.autograd.grad(together.last_hidden_state.square().sum(), weight)
    sizes.clear()
    in_chunks = run_in_chunks(run, 5, 2, weight.device)
    assert sizes == [2, 2, 1]
    torch.testing.assert_close(in_chunks.last_hidden_state, together.last_hidden_state, rtol=0, atol=0)
    assert in_chunks.hidden_states[0].shape == (5, 5, 3)
    assert in_chunks.hidden_states[0][0, 2:].eq(0).all()
    (found,) = torch.autograd.grad(in_chunks.last_hidden_state.square().sum(), weight)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
