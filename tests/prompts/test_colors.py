"""Painting of regions in colours."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from hf_prompt_models.prompts.colors import (
    FREQUENCY_COLORS,
    SEARCHED_COLORS,
    check_alpha,
    check_colors,
    check_masks,
    clip_boxes,
    mask_boxes,
    paint_regions,
    search_color_prompts,
)


RED = (240, 0, 30)


def noise(size: tuple[int, int] = (30, 20)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def composited(image: Image.Image, box: tuple[int, int, int, int], rgb: tuple[int, int, int]) -> Image.Image:
    overlay = Image.new("RGBA", image.size, (0, 0, 0, 0))
    overlay.paste((*rgb, 127), box)
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def test_red_over_grey_is_what_the_released_code_makes_of_it() -> None:
    painted = paint_regions(Image.new("RGB", (8, 6), (100, 100, 100)), [(2, 1, 5, 4)], [RED])
    inside = np.asarray(painted)[1:4, 2:5]
    assert (inside == (170, 50, 65)).all()
    outside = np.asarray(painted).copy()
    outside[1:4, 2:5] = 100
    assert (outside == 100).all()  # the right column and the bottom row are not painted


@pytest.mark.parametrize("rgb", [rgb for _, rgb in SEARCHED_COLORS])
def test_painting_is_alpha_compositing_at_every_brightness(rgb: tuple[int, int, int]) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2))
    box = (0, 0, 256, 2)
    assert np.array_equal(paint_regions(ramp, [box], [rgb]), composited(ramp, box, rgb))


@pytest.mark.parametrize("alpha", [1, 120, 127, 255])
def test_each_channel_is_the_rounded_mean(alpha: int) -> None:
    image = noise()
    painted = np.asarray(paint_regions(image, [(3, 4, 20, 11)], [RED], alpha)).astype(int)
    expected = np.asarray(image).astype(int)
    blended = (alpha * np.array(RED) + (255 - alpha) * expected[4:11, 3:20]) / 255
    expected[4:11, 3:20] = np.floor(blended + 0.5)
    assert np.array_equal(painted, expected)


def test_a_full_mask_paints_what_its_box_paints() -> None:
    image = noise()
    mask = np.zeros((20, 30), dtype=bool)
    mask[4:11, 3:20] = True
    by_box = paint_regions(image, [(3, 4, 20, 11)], [RED])
    assert np.array_equal(paint_regions(image, check_masks([mask], image.size), [RED]), by_box)
    assert mask_boxes([mask]) == [(3, 4, 20, 11)]


def test_a_mask_paints_its_pixels_alone() -> None:
    image = noise()
    mask = np.random.default_rng(1).integers(0, 2, (20, 30)).astype(bool)
    painted = np.asarray(paint_regions(image, [mask], [RED]))
    everywhere = np.asarray(paint_regions(image, [(0, 0, 30, 20)], [RED]))
    assert np.array_equal(painted, np.where(mask[..., None], everywhere, np.asarray(image)))


def test_overlapping_regions_blend_in_order() -> None:
    image, first, second = noise(), (0, 0, 20, 20), (10, 5, 30, 20)
    one_after_the_other = composited(composited(image, first, (240, 0, 30)), second, (0, 10, 255))
    both = paint_regions(image, [first, second], [(240, 0, 30), (0, 10, 255)])
    assert np.array_equal(both, one_after_the_other)
    assert not np.array_equal(both, paint_regions(image, [second, first], [(0, 10, 255), (240, 0, 30)]))


def test_painting_leaves_the_image_as_it_was() -> None:
    image = noise()
    before = np.asarray(image).copy()
    paint_regions(image, [(0, 0, 5, 5)], [RED])
    assert np.array_equal(image, before)


def test_corners_are_cut_to_whole_numbers_then_clipped() -> None:
    assert clip_boxes([[1.9, 2.9, 10.9, 12.1]], (30, 20)) == [(1, 2, 10, 12)]
    assert clip_boxes([[-0.9, -7.0, 99.0, 20.5]], (30, 20)) == [(0, 0, 30, 20)]


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 9], [9, 5, 5, 9], [5.1, 5.0, 5.9, 9.0], [30, 0, 40, 9], [-9, 0, 0, 9], [0, 20, 9, 25]]
)
def test_an_empty_box_is_refused_by_its_index(box: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Box 1 is empty.*30 x 20"):
        clip_boxes([[0, 0, 5, 5], box], (30, 20))


@pytest.mark.parametrize("box", [[0, 0, 5], [0, 0, 5, float("nan")], [0, 0, 5, float("inf")]])
def test_a_box_that_is_not_four_numbers_is_refused_by_its_index(box: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected four numbers x1, y1, x2, y2 for box 0"):
        clip_boxes([box], (30, 20))


def test_masks_are_arrays_or_images() -> None:
    inside = np.zeros((20, 30), dtype=np.uint8)
    inside[2:5, 3:9] = 1
    for mask in (inside, inside.astype(bool), inside * 0.7, Image.fromarray(inside * 255), inside.tolist()):
        assert np.array_equal(check_masks([mask], (30, 20))[0], inside.astype(bool))


def test_a_mask_of_another_size_or_an_empty_one_is_refused_by_its_index() -> None:
    good = np.ones((20, 30))
    with pytest.raises(ValueError, match=r"Mask 1 has the shape \(30, 20\).*height 20 and width 30"):
        check_masks([good, good.T], (30, 20))
    with pytest.raises(ValueError, match="Mask 1 is empty"):
        check_masks([good, good * 0], (30, 20))


def test_the_palettes_are_the_published_ones_in_order() -> None:
    assert SEARCHED_COLORS == (
        ("red", (240, 0, 30)),
        ("purple", (155, 50, 210)),
        ("yellow", (255, 255, 25)),
        ("blue", (0, 10, 255)),
        ("green", (0, 255, 0)),
        ("pink", (255, 170, 230)),
    )
    assert [name for name, _ in FREQUENCY_COLORS] == ["red", "black", "blue", "green", "yellow", "brown"]


def test_a_palette_keeps_its_order_through_json() -> None:
    colors = [("zebra", (1, 2, 3)), ("amber", (255, 0, 9)), ("mint", (0, 255, 0))]
    assert check_colors(json.loads(json.dumps(check_colors(colors)))) == colors


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        ([], "at least one colour"),
        ([("red", (1, 2, 3)), ("red", (4, 5, 6))], "contains red more than once"),
        ([("red", (256, 0, 0))], "Expected three integers from 0 to 255 for the colour 'red'"),
        ([("red", (0.5, 0, 0))], "Expected three integers"),
        ([("red", (float("nan"), 0, 0))], "Expected three integers"),
        ([("red", "#f0")], "Expected three integers"),
        ([("red", (1, 2))], "a pair such as"),
        ({"red": (1, 2, 3)}, "a pair such as"),
        ([(" ", (1, 2, 3))], "Expected a word as the name"),
    ],
)
def test_a_palette_that_is_none_is_refused(colors: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_colors(colors)  # type: ignore[arg-type]


# -- the search ------------------------------------------------------------------------------------------------------


class NearestColor:
    """Gives a word the more probability the nearer a block is to the word's own colour."""

    def __init__(self, places: dict[str, tuple[int, int, int]]):
        self.places, self.shown = places, []

    def word_probabilities(
        self, processor: object, images: list[Image.Image], sentence: str, words: list[str]
    ) -> torch.Tensor:
        assert (processor, sentence) == ("its processor", "a photo in [MASK] color.")
        pixels = np.stack([np.asarray(image) for image in images]).reshape(len(images), -1, 3).astype(float)
        assert (pixels == pixels[:, :1]).all()  # blocks of one colour
        self.shown += [tuple(map(int, block)) for block in pixels[:, 0]]
        distances = [np.abs(pixels[:, 0] - self.places[word]).sum(axis=1) for word in words]
        return torch.tensor(np.stack(distances, axis=1)).neg().div(100).exp()


PLACES = {"mud": (93, 66, 21), "snow": (255, 250, 255), "sea": (1, 120, 170)}


def test_the_search_finds_each_word_s_own_colour_and_shows_each_appearance_once() -> None:
    model = NearestColor(PLACES)
    found = search_color_prompts(model, "its processor", list(PLACES), rgb_step=64)
    assert len(model.shown) == len(set(model.shown)) < 64 + 3 * 27 * 4
    for name, rgb, probability in found:
        assert max(abs(part - true) for part, true in zip(rgb, PLACES[name], strict=True)) <= 4
        distance = sum(abs(part - true) for part, true in zip(rgb, PLACES[name], strict=True))
        assert probability == pytest.approx(np.exp(-distance / 100))
    assert [entry[2] for entry in found] == sorted((entry[2] for entry in found), reverse=True)
    assert check_colors([(name, rgb) for name, rgb, _ in found])


def test_the_search_shows_what_alpha_leaves_of_the_background() -> None:
    model = NearestColor(PLACES)
    search_color_prompts(model, "its processor", ["mud"], rgb_step=255, alpha=127, background=(100, 100, 100))
    assert (50, 50, 50) in model.shown  # black over grey
    assert (177, 50, 50) in model.shown


def test_the_coarse_grid_is_512_appearances_in_batches() -> None:
    model, sizes = NearestColor(PLACES), []
    inner = model.word_probabilities

    def word_probabilities(processor: object, images: list[Image.Image], *rest: object) -> torch.Tensor:
        sizes.append(len(images))
        return inner(processor, images, *rest)  # type: ignore[arg-type]

    model.word_probabilities = word_probabilities  # type: ignore[method-assign]
    search_color_prompts(model, "its processor", ["sea"], batch_size=100)
    assert sizes[:6] == [100, 100, 100, 100, 100, 12]


def test_a_grid_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected rgb_step"):
        search_color_prompts(NearestColor(PLACES), "its processor", ["sea"], rgb_step=0)


@pytest.mark.parametrize("alpha", [0, 0.5, 100.5, 256])
def test_a_cover_that_is_no_byte_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha to be an integer from 1"):
        check_alpha(alpha)
