"""ActionCLIP's data augmentation, applied identically to all frames of a video, on PIL images.

Source: ActionCLIP's `utils/Augmentation.py` and `datasets/transforms_ss.py` (github.com/sallymmx/ActionCLIP), which
takes its crops from TSN; RandAugment (arXiv 1909.13719) as implemented in github.com/ildoonet/pytorch-randaugment.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps


Change = Callable[[Image.Image], Image.Image]
"""Function that transforms one frame."""

CROP_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of a crop as fractions of the shorter side of the image."""

CROP_PLACES = [
    *((x, y) for y in (0, 2, 4) for x in (0, 2, 4)),  # corners, midpoints of the sides, centre
    *((x, y) for y in (1, 3) for x in (1, 3)),  # halfway between the centre and the corners
]
"""Positions (x, y) of a crop, in quarters of the free space from the left and from the top."""

JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
"""Strength x of the colour jitter: factors from 1 - x to 1 + x; for hue, shifts of up to x of the colour circle."""

RAND_AUGMENT_STEPS = 30
"""Largest magnitude of RandAugment."""


def augment_video(
    frames: Sequence[Image.Image],
    size: int,
    generator: np.random.Generator,
    rand_augment: tuple[int, int] | None = (2, 9),
    flip: bool = True,
    jitter: float = 0.8,
    grayscale: float = 0.2,
    legacy_per_frame_augmentation: bool = False,
) -> list[Image.Image]:
    """Apply ActionCLIP's training transform, sampled once for all frames so that it adds no motion.

    Args:
        frames: RGB PIL images.
        size: side of the returned images in pixels.
        generator: random number generator.
        rand_augment: number of RandAugment operations and their magnitude from 0 to 30, or None for no RandAugment.
        flip: whether to flip the frames horizontally with probability 0.5. Disable it if left and right distinguish
            classes.
        jitter: probability of colour jitter.
        grayscale: probability of conversion to grayscale.
        legacy_per_frame_augmentation: whether to sample RandAugment and colour jitter for each frame separately, as
            the reference implementation does. The video then flickers.

    Returns:
        As many images of (size, size) pixels as there are frames.
    """
    frames = list(frames)
    each = legacy_per_frame_augmentation
    if rand_augment is not None:
        count, magnitude = rand_augment
        frames = _apply(lambda: draw_rand_augment(generator, count, magnitude), frames, each)
    frames = _apply(lambda: draw_multi_scale_crop(generator, size), frames)
    if flip and generator.random() < 0.5:
        frames = [ImageOps.mirror(frame) for frame in frames]
    if generator.random() < jitter:
        frames = _apply(lambda: draw_colour_jitter(generator), frames, each)
    if generator.random() < grayscale:
        frames = [frame.convert("L").convert("RGB") for frame in frames]
    return frames


def _apply(draw: Callable[[], Change], frames: list[Image.Image], each: bool = False) -> list[Image.Image]:
    if each:
        return [draw()(frame) for frame in frames]
    change = draw()
    return [change(frame) for frame in frames]


def draw_multi_scale_crop(generator: np.random.Generator, size: int) -> Change:
    """Sample a nearly square crop of one of four widths and heights at one of 13 positions, resized to a square.

    Args:
        generator: random number generator.
        size: side of the returned images in pixels.
    """
    scales = range(len(CROP_SCALES))
    shapes = [(w, h) for h in scales for w in scales if abs(w - h) <= 1]
    shape = shapes[generator.integers(len(shapes))]
    place = CROP_PLACES[generator.integers(len(CROP_PLACES))]

    def crop(image: Image.Image) -> Image.Image:
        sides = [int(min(image.size) * CROP_SCALES[scale]) for scale in shape]
        # A side that differs from `size` by less than 3 pixels is set to it, to avoid resizing.
        w, h = (max(size if abs(side - size) < 3 and size <= min(image.size) else side, 1) for side in sides)
        left, top = ((image.width - w) // 4 * place[0], (image.height - h) // 4 * place[1])
        part = image.crop((left, top, left + w, top + h))
        return part.resize((size, size), Image.Resampling.BILINEAR)

    return crop


def draw_colour_jitter(generator: np.random.Generator) -> Change:
    """Sample changes of brightness, contrast, saturation and hue, applied in random order."""
    factors = {name: generator.uniform(1 - JITTER[name], 1 + JITTER[name]) for name in list(JITTER)[:3]}
    turn = round(255 * generator.uniform(-JITTER["hue"], JITTER["hue"]))
    changes: list[Change] = [
        lambda image: ImageEnhance.Brightness(image).enhance(factors["brightness"]),
        lambda image: ImageEnhance.Contrast(image).enhance(factors["contrast"]),
        lambda image: ImageEnhance.Color(image).enhance(factors["saturation"]),
        lambda image: _turn_hue(image, turn),
    ]
    order = generator.permutation(len(changes))
    return lambda image: _in_order([changes[place] for place in order], image)


def _turn_hue(image: Image.Image, turn: int) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _in_order(changes: Sequence[Change], image: Image.Image) -> Image.Image:
    for change in changes:
        image = change(image)
    return image


def draw_rand_augment(generator: np.random.Generator, count: int, magnitude: int) -> Change:
    """Sample `count` RandAugment operations, with replacement.

    Args:
        generator: random number generator.
        count: number of operations.
        magnitude: magnitude of the operations, from 0 to 30.

    Raises:
        ValueError: if the magnitude is out of range.
    """
    if not 0 <= magnitude <= RAND_AUGMENT_STEPS:
        raise ValueError(f"Expected a magnitude of RandAugment from 0 to {RAND_AUGMENT_STEPS}, got {magnitude}.")
    drawn = [OPERATIONS[generator.integers(len(OPERATIONS))] for _ in range(count)]
    changes = [draw(generator, low + (high - low) * magnitude / RAND_AUGMENT_STEPS) for draw, low, high in drawn]
    return lambda image: _in_order(changes, image)


def _enhance(
    enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
) -> Callable[[np.random.Generator, float], Change]:
    return lambda _, factor: lambda image: enhancer(image).enhance(factor)


def _affine(a: float, b: float, c: float, d: float, e: float, f: float) -> Change:
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f))


def _sign(generator: np.random.Generator) -> int:
    return -1 if generator.random() < 0.5 else 1


def _rotate(generator: np.random.Generator, degrees: float) -> Change:
    degrees *= _sign(generator)
    return lambda image: image.rotate(degrees)


def _solarize_add(_: np.random.Generator, addition: float) -> Change:
    levels = [min(int(level + addition), 255) for level in range(256)] * 3
    return lambda image: ImageOps.solarize(image.point(levels), 128)


def _cutout(generator: np.random.Generator, side: float) -> Change:
    x, y = generator.random(2)

    def cut(image: Image.Image) -> Image.Image:
        left, top = (int(max(0, share * length - side / 2)) for share, length in zip((x, y), image.size, strict=True))
        image = image.copy()
        corner = (min(image.width, left + side), min(image.height, top + side))
        ImageDraw.Draw(image).rectangle((left, top, *corner), (125, 123, 114))
        return image

    return cut


OPERATIONS: list[tuple[Callable[[np.random.Generator, float], Change], float, float]] = [
    (lambda *_: ImageOps.autocontrast, 0, 1),
    (lambda *_: ImageOps.equalize, 0, 1),
    (lambda *_: ImageOps.invert, 0, 1),
    (_rotate, 0, 30),
    (lambda _, bits: lambda image: ImageOps.posterize(image, max(int(bits), 1)), 0, 4),
    (lambda _, threshold: lambda image: ImageOps.solarize(image, math.ceil(threshold)), 0, 256),
    (_solarize_add, 0, 110),
    (_enhance(ImageEnhance.Color), 0.1, 1.9),
    (_enhance(ImageEnhance.Contrast), 0.1, 1.9),
    (_enhance(ImageEnhance.Brightness), 0.1, 1.9),
    (_enhance(ImageEnhance.Sharpness), 0.1, 1.9),
    (lambda generator, by: _affine(1, by * _sign(generator), 0, 0, 1, 0), 0, 0.3),  # shear
    (lambda generator, by: _affine(1, 0, 0, by * _sign(generator), 1, 0), 0, 0.3),
    (_cutout, 0, 40),  # side in pixels
    (lambda generator, by: _affine(1, 0, by * _sign(generator), 0, 1, 0), 0, 100),  # shift in pixels
    (lambda generator, by: _affine(1, 0, 0, 0, 1, by * _sign(generator)), 0, 100),
]
"""RandAugment operations, each with its strength at magnitudes 0 and 30."""
