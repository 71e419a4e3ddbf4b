"""Clips of drawn objects whose motion cannot be recognised from a single frame.

Motions come in pairs, and the two clips of a pair have exactly the same frames: one plays them forwards, the other one
backwards ("blinking" and "vanishing": reordered). A model that ignores the order of the frames, such as mean pooling,
can only guess within a pair.
"""

from typing import NamedTuple

import numpy as np

from .drawing import COLOURS, GROUNDS, TEXTURES, Placement, contrast, draw_ground, draw_object, to_image


PAIRS = (
    ("moving right", "moving left"),
    ("moving down", "moving up"),
    ("growing", "shrinking"),
    ("turning right", "turning left"),
    ("two objects parting", "two objects colliding"),
    ("blinking", "vanishing"),
)
"""Motions and their opposites. Turning right is clockwise: the top of the object moves to the right."""

OBJECTS = ("bottle", "cactus", "crown", "hammer", "key", "mushroom", "plane", "snowman", "tree", "triangle")
"""Shapes whose rotation is visible and that the packaged CLIP recognises well."""

FRAMES = (16, 32)
"""Minimum and maximum number of frames of a clip."""


class Track(NamedTuple):
    """Track of an object over `n` frames, as arrays of shape (n,).

    Attributes:
        x: horizontal centre, as in `Placement`.
        y: vertical centre, as in `Placement`.
        size: diameter, as in `Placement`.
        angle: clockwise rotation in degrees.
        visible: whether the object is visible, bool.
    """

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    angle: np.ndarray
    visible: np.ndarray


def draw_opposites(
    pair: tuple[str, str], rng: np.random.Generator, shape: str | None = None, size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a clip of each motion of a pair, with the same frames.

    Object, colour, texture, background, speed, position and number of frames are random.

    Args:
        pair: one of `PAIRS`.
        rng: random generator.
        shape: the object, one of `SHAPES`. Default: sampled from `OBJECTS`.
        size: height and width in pixels.

    Returns:
        The clips of the first and the second motion of the pair, RGB arrays of shape (frames, size, size, 3), uint8.
        The second clip has the frames of the first in reverse order, except for "vanishing", which has all frames with
        an object before all frames without.

    Raises:
        ValueError: if `pair` is not one of `PAIRS`.
    """
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    tracks = make_tracks(pair, count, rng)
    ground = draw_ground(str(rng.choice(GROUNDS if rng.random() < 0.3 else list(COLOURS))), size, size, rng)
    images = [ground] * count
    for track in tracks:
        images = _with_object(images, shape or str(rng.choice(OBJECTS)), track, ground, rng)
    frames = np.stack([np.asarray(to_image(image)) for image in images])
    order = np.argsort(~tracks[0].visible, kind="stable") if "vanishing" in pair else np.arange(count)[::-1]
    return frames, frames[order]


def _with_object(
    images: list[np.ndarray], shape: str, track: Track, ground: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw an object of constant appearance on copies of the frames, at the positions of its track."""
    colour = str(rng.choice([name for name in COLOURS if contrast(name, ground) > 0.6]))
    texture = str(rng.choice(TEXTURES, p=(0.6, 0.1, 0.1, 0.1, 0.1)))
    tilt, stretch = rng.normal(0, 6), rng.uniform(0.85, 1.18)
    return [
        draw_object(image, shape, colour, texture, Placement(x, y, diameter, tilt + angle, stretch))
        if visible
        else image
        for image, x, y, diameter, angle, visible in zip(images, *track, strict=True)
    ]


def make_tracks(pair: tuple[str, str], count: int, rng: np.random.Generator) -> list[Track]:
    """Sample the tracks of the objects for the first motion of a pair, one track per object.

    Args:
        pair: one of `PAIRS`.
        count: number of frames.
        rng: random generator.

    Raises:
        ValueError: if `pair` is not one of `PAIRS`.
    """
    time = np.linspace(0, 1, count)

    def between(start: float, end: float) -> np.ndarray:
        return start + (end - start) * time

    still = np.ones(count)
    always = np.ones(count, dtype=bool)
    level = still * 0
    match pair[0]:
        case "moving right" | "moving down":
            along = between(rng.uniform(0.1, 0.22), rng.uniform(0.78, 0.9))
            across = still * rng.uniform(0.32, 0.68)
            x, y = (along, across) if pair[0] == "moving right" else (across, along)
            return [Track(x, y, still * rng.uniform(0.42, 0.56), level, always)]
        case "growing":
            x, y = rng.uniform(0.38, 0.62, 2)
            return [Track(still * x, still * y, between(rng.uniform(0.2, 0.32), rng.uniform(0.7, 0.9)), level, always)]
        case "turning right":
            x, y = rng.uniform(0.4, 0.6, 2)
            angle = between(-rng.uniform(75, 105), rng.uniform(75, 105))
            return [Track(still * x, still * y, still * rng.uniform(0.65, 0.85), angle, always)]
        case "two objects parting":
            centre, across = rng.uniform(0.46, 0.54), still * rng.uniform(0.35, 0.65)
            diameter = still * rng.uniform(0.32, 0.42)
            away = between(rng.uniform(0.42, 0.5) * diameter[0], rng.uniform(0.34, 0.4))
            courses = [(centre + side * away, across) for side in (-1, 1)]
            if rng.random() < 0.5:
                courses = [(across, along) for along, across in courses]
            return [Track(x, y, diameter, level, always) for x, y in courses]
        case "blinking":
            x, y = rng.uniform(0.35, 0.65, 2)
            # The object is on and off two or three times, starting with either. Each phase is longer than the gap
            # between 8 sampled frames.
            visible = (time * 0.999 * 2 * rng.integers(2, 4)).astype(int) % 2 == rng.integers(2)
            return [Track(still * x, still * y, still * rng.uniform(0.5, 0.75), level, visible)]
        case _:
            raise ValueError(f"Unknown pair {pair!r}. Choose one of {', '.join(map(repr, PAIRS))}.")
