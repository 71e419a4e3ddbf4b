"""Random augmentations that are the same for all frames of a video."""

import colorsys
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageOps

from hf_prompt_models.data.videos.augmentation import (
    OPERATIONS,
    augment_video,
    draw_colour_jitter,
    draw_multi_scale_crop,
    draw_rand_augment,
)


def picture(seed: int = 0, width: int = 50, height: int = 40) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


def same(image: Image.Image, other: Image.Image) -> bool:
    return image.size == other.size and ImageChops.difference(image, other).getbbox() is None


@pytest.mark.parametrize("seed", range(20))
def test_equal_frames_stay_equal_and_depend_on_the_generator_alone(seed: int) -> None:
    frames = [picture()] * 4
    results = augment_video(frames, 24, np.random.default_rng(seed))
    assert [result.size for result in results] == [(24, 24)] * 4
    assert {result.mode for result in results} == {"RGB"}
    assert all(same(result, results[0]) for result in results)
    assert same(results[0], augment_video(frames, 24, np.random.default_rng(seed))[0])
    assert not same(results[0], augment_video(frames, 24, np.random.default_rng(seed + 1))[0])


def test_the_reference_lets_colours_flicker() -> None:
    frames = [picture()] * 4
    drawn = [
        augment_video(frames, 24, np.random.default_rng(seed), legacy_per_frame_augmentation=True)
        for seed in range(10)
    ]
    assert sum(not all(same(frame, video[0]) for frame in video) for video in drawn) > 5
    # But crops and mirror images are the video's there, too.
    drawn = [
        augment_video(frames, 24, np.random.default_rng(seed), None, jitter=0, legacy_per_frame_augmentation=True)
        for seed in range(10)
    ]
    assert all(same(frame, video[0]) for video in drawn for frame in video)


@pytest.mark.parametrize("size", [(50, 40), (40, 50), (40, 40), (1, 7)])
def test_a_crop_is_one_of_the_references(size: tuple[int, int]) -> None:
    """Each pixel tells where it comes from, so that a result tells its crop."""
    width, height = size
    image = picture(1, 4 * width, 4 * height).resize(size)
    expected: list[Image.Image] = []
    sides = [int(min(size) * share) for share in (1, 0.875, 0.75, 0.66)]
    sides = [36 if abs(side - 36) < 3 and min(size) >= 36 else max(side, 1) for side in sides]
    for i, h in enumerate(sides):
        for j, w in enumerate(sides):
            if abs(i - j) > 1:
                continue
            x, y = (width - w) // 4, (height - h) // 4
            for left, top in [
                *[(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)],
                *[(0, 2 * y), (4 * x, 2 * y), (2 * x, 4 * y), (2 * x, 0)],
                *[(x, y), (3 * x, y), (x, 3 * y), (3 * x, 3 * y)],
            ]:
                part = image.crop((left, top, left + w, top + h))
                expected.append(part.resize((36, 36), Image.Resampling.BILINEAR))
    assert len(expected) == 130
    generator = np.random.default_rng(0)
    counts = Counter(draw_multi_scale_crop(generator, 36)(image).tobytes() for _ in range(1500))
    assert set(counts) == {each.tobytes() for each in expected}


def test_every_second_video_is_mirrored_unless_sides_matter() -> None:
    image = picture(width=24, height=24)

    def mirrored(**options: bool) -> int:
        generator = np.random.default_rng(0)
        count = 0
        for _ in range(300):
            state = generator.bit_generator.state
            (result,) = augment_video([image], 24, generator, None, jitter=0, grayscale=0, **options)
            again = np.random.default_rng()
            again.bit_generator.state = state
            crop = draw_multi_scale_crop(again, 24)(image)
            assert same(result, crop) or same(result, ImageOps.mirror(crop))
            count += not same(result, crop)
        return count

    assert 120 < mirrored() < 180
    assert mirrored(flip=False) == 0


def test_colours_are_changed_and_taken_away_as_often_as_asked() -> None:
    image = picture(width=24, height=24)
    generator = np.random.default_rng(0)
    videos = [augment_video([image], 24, generator, None, jitter=0)[0] for _ in range(300)]
    grey = [same(video, video.convert("L").convert("RGB")) for video in videos]
    assert 40 < sum(grey) < 80
    flat = Image.new("RGB", (24, 24), (90, 140, 60))
    generator = np.random.default_rng(0)
    videos = [augment_video([flat], 24, generator, None, grayscale=0)[0] for _ in range(300)]
    assert 220 < sum(not same(video, flat) for video in videos) < 260


def test_jitter_changes_colours_within_its_bounds() -> None:
    # Of one colour, contrast and brightness both scale what is seen; hue and saturation do not.
    flat = Image.new("RGB", (4, 4), (100, 60, 60))
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in (100, 60, 60)))
    seen = []
    for seed in range(300):
        colour = draw_colour_jitter(np.random.default_rng(seed))(flat).getpixel((0, 0))
        seen.append(colorsys.rgb_to_hsv(*(level / 255 for level in colour)))
    hues = (np.array([each[0] for each in seen]) - hue + 0.5) % 1 - 0.5
    assert abs(hues).max() < 0.115
    assert abs(hues).max() > 0.08
    values = np.array([each[2] for each in seen]) / value
    assert 0.5 < values.min() < 0.75
    assert 1.25 < values.max() < 1.6  # 1.4, and some of the saturation
    saturations = np.array([each[1] for each in seen]) / saturation
    assert 0.5 < saturations.min() < 0.9  # 0.8 and 1.2, and contrast about a mean that brightness has changed
    assert 1.1 < saturations.max() < 1.5


def test_jitter_comes_in_any_order() -> None:
    class Order:
        def __init__(self, order: list[int]):
            self.order = order

        def uniform(self, low: float, high: float) -> float:
            return low

        def permutation(self, count: int) -> list[int]:
            assert count == 4
            return self.order

    image = picture()
    steps = {
        0: lambda image: ImageEnhance.Brightness(image).enhance(0.6),
        1: lambda image: ImageEnhance.Contrast(image).enhance(0.6),
        2: lambda image: ImageEnhance.Color(image).enhance(0.8),
    }
    for order in ([0, 1, 2], [2, 1, 0]):
        expected = image
        for step in order:
            expected = steps[step](expected)
        hsv = np.asarray(expected.convert("HSV")).astype(int)
        hsv[..., 0] = (hsv[..., 0] - 26) % 256  # a tenth of the circle
        expected = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")
        assert same(draw_colour_jitter(Order([*order, 3]))(image), expected)  # type: ignore[arg-type]


def test_rand_augments_operations_at_magnitude_9_are_the_references() -> None:
    """Each strength is 9/30 of the maximum; signs and positions are sampled."""
    image = picture(width=200, height=160)

    def affine(*numbers: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, numbers)

    added = np.clip(np.asarray(image).astype(float) + 33, 0, 255).astype(np.uint8)
    expected = [
        [ImageOps.autocontrast(image)],
        [ImageOps.equalize(image)],
        [ImageOps.invert(image)],
        [image.rotate(9), image.rotate(-9)],
        [ImageOps.posterize(image, 1)],
        [Image.fromarray(np.where(np.asarray(image) < 76.8, np.asarray(image), 255 - np.asarray(image)))],
        [Image.fromarray(np.where(added < 128, added, 255 - added))],
        [ImageEnhance.Color(image).enhance(0.64)],
        [ImageEnhance.Contrast(image).enhance(0.64)],
        [ImageEnhance.Brightness(image).enhance(0.64)],
        [ImageEnhance.Sharpness(image).enhance(0.64)],
        [affine(1, sign * 0.09, 0, 0, 1, 0) for sign in (1, -1)],
        [affine(1, 0, 0, sign * 0.09, 1, 0) for sign in (1, -1)],
        [],
        [affine(1, 0, sign * 30, 0, 1, 0) for sign in (1, -1)],
        [affine(1, 0, 0, 0, 1, sign * 30) for sign in (1, -1)],
    ]
    drawn: list[set[bytes]] = [set() for _ in OPERATIONS]
    for place, (draw, low, high) in enumerate(OPERATIONS):
        for seed in range(12):
            strength = low + (high - low) * 9 / 30
            drawn[place].add(draw(np.random.default_rng(seed), strength)(image).tobytes())
    for place, results in enumerate(expected):
        if results:
            assert drawn[place] == {result.tobytes() for result in results}, place
    # The one with a place of its own: a square of 12 pixels, at the edges cut off.
    x, y = np.random.default_rng(5).random(2) * image.size
    cut = image.copy()
    left, top = int(max(0, x - 6)), int(max(0, y - 6))
    ImageDraw.Draw(cut).rectangle((left, top, min(200, left + 12), min(160, top + 12)), (125, 123, 114))
    assert OPERATIONS[13][0](np.random.default_rng(5), 12)(image).tobytes() == cut.tobytes()


def test_rand_augment_applies_as_many_operations_as_asked() -> None:
    image = picture()
    assert same(draw_rand_augment(np.random.default_rng(0), 0, 9)(image), image)
    # Of those without chance: one after another.
    for seed in range(30):
        generator = np.random.default_rng(seed)
        first, second = (int(place) for place in generator.integers(len(OPERATIONS), size=2))
        if any(place in (3, 11, 12, 13, 14, 15) for place in (first, second)):
            continue
        expected = image
        for place in (first, second):
            draw, low, high = OPERATIONS[place]
            expected = draw(generator, low + (high - low) * 0.3)(expected)
        assert same(draw_rand_augment(np.random.default_rng(seed), 2, 9)(image), expected)
    with pytest.raises(ValueError, match="0 to 30, got 31"):
        draw_rand_augment(np.random.default_rng(0), 2, 31)
