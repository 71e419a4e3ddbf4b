"""Random crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hf_prompt_models.data.images.augmentation import augment, random_resized_crop


def gradient(width: int, height: int) -> Image.Image:
    """Red increases with x and green with y, so that the colours reveal the position and size of a crop."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(pixels)


def test_crops_cover_the_published_range_of_areas_and_shapes() -> None:
    areas, ratios = [], []
    for index in range(400):
        crop = np.asarray(random_resized_crop(gradient(256, 256), 64, np.random.default_rng(index))).astype(float)
        width, height = np.ptp(crop[..., 0]) / 255, np.ptp(crop[..., 1]) / 255
        areas.append(width * height)
        ratios.append(width / height)
    assert min(areas) == pytest.approx(0.08, abs=0.02)
    assert 0.9 < max(areas) <= 1  # the largest only fit if they are nearly square
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)  # less than 0.54: large long crops do not fit
    assert min(ratios) == pytest.approx(3 / 4, abs=0.06)
    assert max(ratios) == pytest.approx(4 / 3, abs=0.1)


@given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 10**6))
def test_any_image_gives_a_square_of_the_size(width: int, height: int, seed: int) -> None:
    assert random_resized_crop(gradient(width, height), 16, np.random.default_rng(seed)).size == (16, 16)


def test_a_very_long_image_gives_its_middle() -> None:
    crop = np.asarray(random_resized_crop(gradient(900, 9), 32, np.random.default_rng(0))).astype(float)
    assert crop[..., 0].min() > 120
    assert crop[..., 0].max() < 135


def test_half_of_the_crops_are_mirrored() -> None:
    mirrored = 0
    for index in range(200):
        crop = np.asarray(augment(gradient(128, 128), 16, np.random.default_rng(index))).astype(float)
        mirrored += crop[:, 0, 0].mean() > crop[:, -1, 0].mean()
    assert 75 < mirrored < 125


def test_a_larger_least_area_keeps_more_of_the_image() -> None:
    areas = []
    for index in range(200):
        generator = np.random.default_rng(index)
        crop = np.asarray(random_resized_crop(gradient(256, 256), 64, generator, min_area=0.5)).astype(float)
        areas.append(np.ptp(crop[..., 0]) / 255 * np.ptp(crop[..., 1]) / 255)
    assert min(areas) == pytest.approx(0.5, abs=0.03)
