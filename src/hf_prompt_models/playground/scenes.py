"""Scenes: pictures of several objects that differ in shape, colour, size and place.

Every scene has its own random stream, named by `(split, seed, index)`: scene 7 is the same however many are drawn.
Objects stand in cells of their own and never touch: a box holds one object and nothing of another.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from .drawing import COLOURS, GROUNDS, Placement, draw_ground, shape_mask, smooth_noise, to_image


SCENE_SHAPES = ("circle", "square", "triangle", "cross", "heart", "ring")

SIZES: dict[str, tuple[float, float]] = {"small": (0.18, 0.21), "large": (0.27, 0.30)}
"""Diameters, in fractions of the picture's side, from and to."""

SCENE_SIZE = 48
MOST_OBJECTS = 4
CELLS = 3

Split = Literal["pretraining", "train", "test"]

_STREAMS: dict[Split, int] = {"pretraining": 8, "train": 9, "test": 10}  # clips.py has streams 4 to 7


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        shape: one of `SCENE_SHAPES`.
        colour: one of `COLOURS`: what its paint is called; shades differ from object to object.
        size: "small" or "large".
        box: `(x1, y1, x2, y2)` in pixels, the right and the bottom one excluded.
        middle: `(x, y)` in fractions of the picture's side.
    """

    shape: str
    colour: str
    size: str
    box: tuple[int, int, int, int]
    middle: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it, in random order."""

    image: Image.Image
    objects: tuple[SceneObject, ...]


def draw_scene(split: Split, seed: int, index: int, objects: int = MOST_OBJECTS, size: int = SCENE_SIZE) -> Scene:
    """Draws scene `index` of a split of the stream `seed`.

    Args:
        split: "pretraining", "train" and "test" are disjoint random streams of the same seed.
        seed: names the stream of scenes.
        index: which scene of the stream.
        objects: how many objects, from 1 to `MOST_OBJECTS`.
        size: height and width in pixels.

    Raises:
        ValueError: `objects` is not from 1 to `MOST_OBJECTS`.
    """
    if not 1 <= objects <= MOST_OBJECTS:
        raise ValueError(f"A scene has 1 to {MOST_OBJECTS} objects, not {objects}.")
    rng = np.random.default_rng((_STREAMS[split], seed, index, objects))
    picture = draw_ground(str(rng.choice(GROUNDS if rng.random() < 0.4 else list(COLOURS))), size, size, rng)
    picture = 1 - rng.uniform(0.2, 0.4) * (1 - picture)  # pale, so that objects stand out of it
    drawn: list[SceneObject] = []
    for size_name, placement in _placements(objects, rng):
        shape = str(rng.choice(SCENE_SHAPES))
        if drawn and rng.random() < 0.15:  # so that a shape alone often does not tell
            shape = str(rng.choice([other.shape for other in drawn]))
        mask = shape_mask(shape, placement, size, size)
        colour, paint = _paint(picture[mask > 0.5].mean(axis=0), rng)
        # Shades run through the object: no object is of one colour value.
        light = 1 + 0.3 * (smooth_noise(size, size, (4, 4), rng) - 0.5)
        picture = picture + (paint * light[..., None] - picture) * mask[..., None]
        rows, columns = np.nonzero(mask > 0.1)
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        drawn.append(SceneObject(shape, colour, size_name, box, (placement.x, placement.y)))
    picture = picture * rng.uniform(0.8, 1.1) + rng.normal(0, rng.uniform(0, 0.04), picture.shape)
    order = rng.permutation(len(drawn))
    return Scene(to_image(picture), tuple(drawn[place] for place in order))


def _placements(objects: int, rng: np.random.Generator) -> list[tuple[str, Placement]]:
    """Sizes and places of objects, each in a cell of its own."""
    found = []
    for cell in rng.permutation(CELLS * CELLS)[:objects]:
        name = str(rng.choice(list(SIZES)))
        x, y = (np.array([cell % CELLS, cell // CELLS]) + 0.5) / CELLS + rng.uniform(-0.02, 0.02, 2)
        found.append((name, Placement(float(x), float(y), float(rng.uniform(*SIZES[name])), float(rng.normal(0, 4)))))
    return found


def _paint(ground: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A colour's name and a shade of it, RGB from 0 to 1, that differs from `ground`.

    Paints are impure, as people's are: up to nearly half of another paint may be mixed in.
    """
    while True:
        colour, other = rng.choice(list(COLOURS), 2)
        amount = rng.uniform(0, 0.45) * (rng.random() < 0.5)
        paint = np.array(COLOURS[str(colour)]) * (1 - amount) + np.array(COLOURS[str(other)]) * amount
        paint = np.clip(paint * rng.uniform(0.75, 1.15) + rng.normal(0, 0.04, 3), 0, 1)
        if np.abs(paint - ground).sum() > 0.5:
            return str(colour), paint
