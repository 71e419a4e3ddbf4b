"""Boxes include the pixels of both corners."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.utils.boxes import box_iou, corners


def pixels(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2 + 1) for y in range(y1, y2 + 1)}


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    x1, y1 = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    return x1, y1, x1 + draw(st.integers(0, 9)), y1 + draw(st.integers(0, 9))


@given(st.lists(boxes(), min_size=1, max_size=4), st.lists(boxes(), min_size=1, max_size=4))
def test_overlap_is_that_of_the_sets_of_pixels(first: list, second: list) -> None:
    found = box_iou(first, second)
    for row, box in enumerate(first):
        for column, other in enumerate(second):
            one, two = pixels(box), pixels(other)
            assert found[row, column].item() == pytest.approx(len(one & two) / len(one | two), abs=1e-12)
    assert torch.equal(found, box_iou(second, first).T)


def test_exactly_half_is_exactly_half() -> None:
    assert box_iou([(0, 0, 9, 9)], [(0, 0, 9, 4)]).item() == 0.5


def test_a_box_of_files_gets_its_last_pixel_as_a_corner() -> None:
    assert corners([10, 20, 3, 1]) == (10, 20, 12, 20)


def test_no_boxes_overlap_nothing() -> None:
    assert box_iou([], [(0, 0, 1, 1)]).shape == (0, 1)


def test_boxes_without_four_corners_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of four numbers"):
        box_iou([(0, 0, 1)], [(0, 0, 1, 1)])
