"""COCO run-length encodings and polygons are decoded to the correct masks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.data.grounding.masks import decode_rle, fill_polygons, read_mask


def run_lengths(mask: np.ndarray) -> list[int]:
    """Column by column, zeros first."""
    counts, current = [0], False
    for value in mask.T.reshape(-1).tolist():
        if bool(value) != current:
            counts.append(0)
            current = bool(value)
        counts[-1] += 1
    return counts


def compressed(counts: list[int]) -> str:
    """As cocoapi's rleToString writes them."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(48 + digit + (32 if more else 0))
            if not more:
                break
    return text


@given(st.integers(1, 12), st.integers(1, 40), st.floats(0, 1), st.integers(0, 100))
def test_run_lengths_compressed_or_not_give_the_mask_back(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = run_lengths(mask)
    for written in (counts, compressed(counts), compressed(counts).encode()):
        found = read_mask({"size": [height, width], "counts": written}, (width, height))
        assert found.dtype == bool
        assert (found == mask).all()


@pytest.mark.parametrize(
    ("rle", "packed"),
    [
        ({"size": [3, 4], "counts": "312000O0"}, "7010"),
        ({"size": [5, 7], "counts": "524OO0;0C000"}, "52c0080020"),
    ],
)
def test_strings_that_pycocotools_wrote_are_read(rle: dict[str, Any], packed: str) -> None:
    height, width = rle["size"]
    expected = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))[: height * width].reshape(height, width)
    assert (decode_rle(rle) == expected).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [3, 4], "counts": [3, 2]}, "cover 5 pixels, but their size is 3 x 4 = 12"),
        ({"size": [4, 3], "counts": [12]}, "image of height 4 and width 3, but the image has height 3 and width 4"),
        ({"size": [3, 4], "counts": [-1, 13]}, "non-negative integers"),
        ({"size": [3, 4], "counts": [6.0, 6]}, "non-negative integers"),
        ({"size": [3, 4], "counts": "3~"}, "character that COCO does not use"),
        ({"size": [3, 4], "counts": "é"}, "cover 15 pixels"),
        ({"size": [3, 4], "counts": "P"}, "end in the middle of a number"),
        ({"size": [3, 4], "counts": "o" * 13}, "character that COCO does not use"),
        ({"size": [3], "counts": [3]}, "Expected 'size'"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "Expected 'size'"),
        ({}, "Expected 'size'"),
        ("mask", "run lengths, .* or a list of polygons"),
        ([], "or a list of polygons"),
        ([[1, 2, 3, 4]], "at least three points"),
        ([[1, 2, 3, 4, 5, float("nan")]], "at least three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three points"),
    ],
)
def test_damaged_masks_and_those_of_another_size_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mask(mask, (4, 3))


@pytest.mark.parametrize("nested", [False, True])
def test_polygons_fill_their_pixels_and_several_are_united(nested: bool) -> None:
    squares = [[1, 1, 4, 1, 4, 3, 1, 3], [6, 2, 8, 2, 8, 5, 6, 5]]
    polygons = [list(zip(s[::2], s[1::2], strict=True)) for s in squares] if nested else squares
    polygons = [[list(point) for point in polygon] for polygon in polygons] if nested else polygons
    expected = np.zeros((7, 10), bool)
    expected[1:4, 1:5] = True
    expected[2:6, 6:9] = True
    assert (fill_polygons(polygons, (10, 7)) == expected).all()


def test_a_triangle_is_half_of_its_square_and_is_cut_at_the_images_edge() -> None:
    mask = fill_polygons([[0, 0, 99, 0, 0, 99]], (100, 100))
    assert mask.mean() == pytest.approx(0.5, abs=0.02)
    assert fill_polygons([[-50, -50, 500, -50, 500, 500, -50, 500]], (6, 4)).all()
