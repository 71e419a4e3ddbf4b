"""Boxes parsed from text, and drawn on images."""

import pytest
from PIL import Image

from hf_prompt_models.app.components.drawn_boxes import (
    BEST,
    LARGEST_VIEW,
    MAX_BOXES,
    OTHER,
    OUTLINE,
    SMALLEST_VIEW,
    draw_boxes,
    read_boxes,
    view_factor,
    without_last_line,
    write_boxes,
)


SIZE = (100, 60)


def test_a_box_a_line_is_read_however_its_numbers_are_parted_and_its_corners_ordered() -> None:
    text = "10 20 30 40\n\n 1, 2, 3,4 \n50;40;30;20\n-5 0 400.5 12.9"
    assert read_boxes(text, SIZE) == [(10, 20, 30, 40), (1, 2, 3, 4), (30, 20, 50, 40), (0, 0, 100, 12)]
    assert read_boxes(" \n", SIZE) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3", "Line 1 of the boxes does not contain four numbers x0 y0 x1 y1: '1 2 3'"),
        ("1 2 3 4\n1 2 3 ring", "Line 2 of the boxes does not contain four numbers"),
        ("1 2 3 inf", "Line 1 of the boxes does not contain four numbers"),
        ("1 2 3 4\n\n200 10 300 20", "Line 3 of the boxes, 200 10 300 20, does not overlap the image of 100"),
        ("5 5 5 9", "Line 1 of the boxes, 5 5 5 9, does not overlap"),
        ("1 2 3 4\n" * (MAX_BOXES + 1), f"There are {MAX_BOXES + 1} boxes, but at most {MAX_BOXES} can be compared"),
    ],
)
def test_lines_that_are_no_boxes_of_the_image_are_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_boxes(text, SIZE)


def test_boxes_that_are_written_are_read_again() -> None:
    boxes = [(1, 2, 30, 40), (5, 6, 7, 8)]
    assert read_boxes(write_boxes(boxes), SIZE) == boxes


def test_the_last_box_is_taken_away_whatever_empty_lines_follow() -> None:
    assert without_last_line("1 2 3 4\n\n5 6 7 8\n\n") == "1 2 3 4"
    assert without_last_line("") == ""


def test_small_images_are_enlarged_by_whole_numbers_and_large_ones_shrunk() -> None:
    assert view_factor((48, 30)) == 10
    assert view_factor((600, 500)) == 1
    assert view_factor((30, 4 * LARGEST_VIEW)) == 0.25
    assert max(draw_boxes(Image.new("RGB", (48, 30)), []).size) == SMALLEST_VIEW


def test_outlines_lie_within_the_boxes_pixels_and_the_answer_over_the_others() -> None:
    picture = Image.new("RGB", (48, 48), (255, 255, 255))  # ten times as large on the page
    drawn = draw_boxes(picture, [(10, 10, 20, 30)])
    assert drawn.getpixel((199, 250)) == OUTLINE
    assert drawn.getpixel((200, 250)) == (255, 255, 255)
    assert drawn.getpixel((150, 299)) == OUTLINE
    assert drawn.getpixel((99, 250)) == (255, 255, 255)
    answered = draw_boxes(picture, [(10, 10, 20, 30), (10, 10, 30, 30)], best=0)
    assert answered.getpixel((100, 250)) == BEST
    assert answered.getpixel((299, 250)) == OTHER


def test_a_corner_that_was_clicked_is_marked() -> None:
    picture = Image.new("RGB", (48, 48), (0, 0, 0))
    assert draw_boxes(picture, [], corner=(20, 10)).getpixel((200, 100)) == OUTLINE
    assert draw_boxes(picture, []).getpixel((200, 100)) == (0, 0, 0)
    assert picture.getpixel((20, 10)) == (0, 0, 0)
