"""Position of the context in a prompt."""

import pytest
import torch

from hf_prompt_models.prompts.context import LearnableContext, insert_context


START, NAME, STOP, END = 100, [1, 2], 50, 101


@pytest.mark.parametrize(
    ("position", "n_ctx", "expected"),
    [
        ("end", 3, [START, 7, 8, 9, *NAME, STOP, END]),
        ("middle", 3, [START, 7, *NAME, 8, 9, STOP, END]),  # the shorter half first
        ("middle", 2, [START, 7, *NAME, 8, STOP, END]),
        ("middle", 1, [START, *NAME, 7, STOP, END]),
        ("front", 3, [START, *NAME, 7, 8, 9, STOP, END]),
    ],
)
def test_the_order_is_the_released_codes(position: str, n_ctx: int, expected: list[int]) -> None:
    assert insert_context([START, *NAME, STOP, END], 2, [7, 8, 9][:n_ctx], position) == expected


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("end", [START, 7, 8, 1, 60, END]),
        ("middle", [START, 7, 1, 60, 8, END]),
        ("front", [START, 1, 60, 7, 8, END]),
    ],
)
def test_a_full_stop_merged_into_the_name_moves_with_it(position: str, expected: list[int]) -> None:
    """ "(bird of prey)." ends in one token for ")." """
    assert insert_context([START, 1, 60, END], 2, [7, 8], position) == expected


def test_context_is_shared_or_each_classs_own() -> None:
    assert LearnableContext(4, 32).context.shape == (4, 32)
    assert LearnableContext(4, 32, num_classes=3).context.shape == (3, 4, 32)
    assert isinstance(LearnableContext(4, 32).context, torch.nn.Parameter)
