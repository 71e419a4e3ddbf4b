"""Scenes: images of several objects with different shape, colour, size and position, and referring expressions.

Every scene has its own random stream, identified by `(split, seed, index)`: scene 7 does not depend on the number of
scenes. Each object is in its own cell and never touches another one: a box has one object and no part of another. A
phrase refers to exactly one object, by its attributes or by a relation to another object. Scenes are written to disk
as referring expressions: images, phrases and candidate boxes, in the file format of RefCOCO.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from hf_prompt_models.utils.files import adding_files

from .drawing import COLOURS, GROUNDS, Placement, draw_ground, shape_mask, smooth_noise, to_image


SCENE_SHAPES = ("circle", "square", "triangle", "cross", "heart", "ring")

SIZES: dict[str, tuple[float, float]] = {"small": (0.18, 0.21), "large": (0.27, 0.30)}
"""Range of the diameter for each size, as fractions of the image side."""

SCENE_SIZE = 48
MOST_OBJECTS = 4
CELLS = 3

Split = Literal["pretraining", "train", "test"]

_STREAMS: dict[Split, int] = {"pretraining": 8, "train": 9, "test": 10}  # clips.py uses streams 4 to 7
_CHOICE_STREAM = 12  # pre-training uses stream 11


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        shape: one of `SCENE_SHAPES`.
        colour: one of `COLOURS`, the name of the colour; the exact shade differs from object to object.
        size: "small" or "large".
        box: `(x1, y1, x2, y2)` in pixels; the right column and the bottom row are excluded.
        middle: centre `(x, y)` as fractions of the image side.
    """

    shape: str
    colour: str
    size: str
    box: tuple[int, int, int, int]
    middle: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """An image and its objects in random order."""

    image: Image.Image
    objects: tuple[SceneObject, ...]


def draw_scene(split: Split, seed: int, index: int, objects: int = MOST_OBJECTS, size: int = SCENE_SIZE) -> Scene:
    """Draw one scene.

    Args:
        split: "pretraining", "train" or "test"; the splits of a seed use different random streams.
        seed: random seed of the stream of scenes.
        index: index of the scene in the stream.
        objects: number of objects, from 1 to `MOST_OBJECTS`.
        size: height and width in pixels.

    Raises:
        ValueError: if `objects` is not from 1 to `MOST_OBJECTS`.
    """
    if not 1 <= objects <= MOST_OBJECTS:
        raise ValueError(f"Expected 1 to {MOST_OBJECTS} objects in a scene, got {objects}.")
    rng = np.random.default_rng((_STREAMS[split], seed, index, objects))
    picture = draw_ground(str(rng.choice(GROUNDS if rng.random() < 0.4 else list(COLOURS))), size, size, rng)
    picture = 1 - rng.uniform(0.2, 0.4) * (1 - picture)  # pale, so that the objects are visible
    drawn: list[SceneObject] = []
    for size_name, placement in _placements(objects, rng):
        shape = str(rng.choice(SCENE_SHAPES))
        if drawn and rng.random() < 0.15:  # repeat a shape, so that the shape alone is often ambiguous
            shape = str(rng.choice([other.shape for other in drawn]))
        mask = shape_mask(shape, placement, size, size)
        colour, paint = _paint(picture[mask > 0.5].mean(axis=0), rng)
        # The brightness varies within the object, so that no object has a single colour value.
        light = 1 + 0.3 * (smooth_noise(size, size, (4, 4), rng) - 0.5)
        picture = picture + (paint * light[..., None] - picture) * mask[..., None]
        rows, columns = np.nonzero(mask > 0.1)
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        drawn.append(SceneObject(shape, colour, size_name, box, (placement.x, placement.y)))
    picture = picture * rng.uniform(0.8, 1.1) + rng.normal(0, rng.uniform(0, 0.04), picture.shape)
    order = rng.permutation(len(drawn))
    return Scene(to_image(picture), tuple(drawn[place] for place in order))


def _placements(objects: int, rng: np.random.Generator) -> list[tuple[str, Placement]]:
    """Sample the sizes and positions of objects, each in its own cell."""
    found = []
    for cell in rng.permutation(CELLS * CELLS)[:objects]:
        name = str(rng.choice(list(SIZES)))
        x, y = (np.array([cell % CELLS, cell // CELLS]) + 0.5) / CELLS + rng.uniform(-0.02, 0.02, 2)
        found.append((name, Placement(float(x), float(y), float(rng.uniform(*SIZES[name])), float(rng.normal(0, 4)))))
    return found


def _paint(ground: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Sample the name of a colour and a shade of it, RGB from 0 to 1, that differs from `ground`.

    The shades are not pure: up to 45% of another colour may be mixed in.
    """
    while True:
        colour, other = rng.choice(list(COLOURS), 2)
        amount = rng.uniform(0, 0.45) * (rng.random() < 0.5)
        paint = np.array(COLOURS[str(colour)]) * (1 - amount) + np.array(COLOURS[str(other)]) * amount
        paint = np.clip(paint * rng.uniform(0.75, 1.15) + rng.normal(0, 0.04, 3), 0, 1)
        if np.abs(paint - ground).sum() > 0.5:
            return str(colour), paint


# -- phrases ---------------------------------------------------------------------------------------------------------


Kind = Literal["shape", "size", "position", "color", "relation"]

ATTRIBUTE_KINDS: tuple[Kind, ...] = ("shape", "size")
"""Kinds of phrases about a single object. Colour is not among them, because painting a region changes the colour."""

POSITIONS = ("on the left", "on the right", "at the top", "at the bottom")

CLEARLY = 0.15
"""Minimum offset for the words "left" and "above" to be true, as a fraction of the image side."""


@dataclass(frozen=True)
class Phrase:
    """A referring expression.

    Attributes:
        text: the phrase, such as "the large heart".
        target: index of the object in the scene.
        kind: property that identifies the object.
    """

    text: str
    target: int
    kind: Kind


def left_of(one: SceneObject, other: SceneObject) -> bool:
    """Return whether the first object is clearly left of the second."""
    return one.middle[0] < other.middle[0] - CLEARLY


def above(one: SceneObject, other: SceneObject) -> bool:
    """Return whether the first object is clearly above the second."""
    return one.middle[1] < other.middle[1] - CLEARLY


def larger(one: SceneObject, other: SceneObject) -> bool:
    """Return whether the first object is large and the second is small."""
    return (one.size, other.size) == ("large", "small")


def same_colour(one: SceneObject, other: SceneObject) -> bool:
    """Return whether both objects have the same colour name."""
    return one.colour == other.colour


RELATIONS: dict[str, Callable[[SceneObject, SceneObject], bool]] = {
    "left of": left_of,
    "right of": lambda one, other: left_of(other, one),
    "above": above,
    "below": lambda one, other: above(other, one),
    "larger than": larger,
    "smaller than": lambda one, other: larger(other, one),
    "of the same color as": same_colour,
}


def stands(thing: SceneObject, position: str) -> bool:
    """Return whether an object is clearly in the half of the image that one of `POSITIONS` names."""
    x, y = thing.middle
    return {
        "on the left": x < 0.5 - CLEARLY / 2,
        "on the right": x > 0.5 + CLEARLY / 2,
        "at the top": y < 0.5 - CLEARLY / 2,
        "at the bottom": y > 0.5 + CLEARLY / 2,
    }[position]


def unique_phrases(objects: Sequence[SceneObject]) -> list[Phrase]:
    """Return all phrases that refer to exactly one object, in the order of the objects.

    Phrases have no redundant words: "the large heart" is returned only if "the heart" is ambiguous.
    """
    phrases: list[Phrase] = []

    def add(text: str, kind: Kind, true_of: list[int]) -> None:
        if len(true_of) == 1:
            phrases.append(Phrase(text, true_of[0], kind))

    numbered = list(enumerate(objects))
    add("the object", "shape", list(range(len(objects))))
    bearers = {shape: [i for i, thing in numbered if thing.shape == shape] for shape in SCENE_SHAPES}
    alone = {shape: objects[found[0]] for shape, found in bearers.items() if len(found) == 1}
    for shape in sorted(alone):
        add(f"the {shape}", "shape", bearers[shape])
    heads = sorted(shape for shape, found in bearers.items() if len(found) > 1)
    for head in [*heads, "object"] if len(objects) > 1 else []:
        among = [(i, thing) for i, thing in numbered if head in ("object", thing.shape)]
        for size in sorted({thing.size for thing in objects}):
            add(f"the {size} {head}", "size", [i for i, thing in among if thing.size == size])
        for position in POSITIONS:
            add(f"the {head} {position}", "position", [i for i, thing in among if stands(thing, position)])
        for colour in sorted({thing.colour for thing in objects}):
            add(f"the {colour} {head}", "color", [i for i, thing in among if thing.colour == colour])
        for shape, (words, holds) in product(sorted(alone), RELATIONS.items()):
            other = alone[shape]
            related = [i for i, thing in among if thing is not other and holds(thing, other)]
            add(f"the {head} {words} the {shape}", "relation", related)
    return sorted(phrases, key=lambda phrase: phrase.target)


# -- files -----------------------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[Kind, ...]] = {
    "attributes": ATTRIBUTE_KINDS,
    "positions": ("position",),
    "colors": ("color",),
    "relations": ("relation",),
}


def draw_expression(
    split: Split,
    seed: int,
    index: int,
    kinds: tuple[Kind, ...] = ATTRIBUTE_KINDS,
    objects: int = MOST_OBJECTS,
    size: int = SCENE_SIZE,
) -> tuple[Scene, Phrase]:
    """Draw a scene and sample a phrase that refers to exactly one of its objects.

    The kind of the phrase is sampled uniformly first, then a phrase of that kind.

    Args:
        split: "pretraining", "train" or "test"; the splits of a seed use different random streams.
        seed: random seed of the stream of scenes.
        index: index of the example in the stream. Scenes without a phrase of `kinds` are skipped.
        kinds: kinds of phrases to sample from.
        objects: number of objects, from 1 to `MOST_OBJECTS`.
        size: height and width in pixels.

    Raises:
        ValueError: if none of 100 scenes has a phrase of `kinds`.
    """
    rng = np.random.default_rng((_CHOICE_STREAM, seed, index))
    # Each example has its own hundred candidate scenes, so that no two examples share a scene.
    for number in range(100 * index, 100 * index + 100):
        scene = draw_scene(split, seed, number, objects, size)
        phrases = [phrase for phrase in unique_phrases(scene.objects) if phrase.kind in kinds]
        if phrases:
            kind = rng.choice(sorted({phrase.kind for phrase in phrases}))
            fitting = [phrase for phrase in phrases if phrase.kind == kind]
            return scene, fitting[rng.integers(len(fitting))]
    raise ValueError(
        f"Scenes with {objects} object(s) have no phrases of the kind {' or '.join(kinds)}. Use more objects or "
        "other kinds."
    )


def write_scene_folder(
    output_dir: str | Path,
    *,
    seed: int,
    phrases: str = "attributes",
    train: int = 500,
    test: int = 1000,
    objects: int = MOST_OBJECTS,
    size: int = SCENE_SIZE,
) -> None:
    """Write a visual grounding dataset to `output_dir/{train,test}/{annotations.json,proposals.json,<number>.png}`.

    `annotations.json` is a list with one entry per phrase: `id`, `file_name`, `caption`, `bbox` [x, y, width, height],
    `width`, `height`, and `kind`, the property that identifies the target. `proposals.json` maps each file name to the
    boxes of all objects, `[{"box": [x, y, width, height]}, …]`. The same arguments write the same bytes, and a smaller
    number of examples gives the first ones of a larger number.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the scenes; the splits of a seed share no scene, and no scene is used in pre-training.
        phrases: "attributes" for phrases with shape and size, "positions" for phrases with the position in the image,
            "colors" for phrases with the colour of the object, which painting a region partly hides, or "relations"
            for phrases with a relation to another object.
        train: number of training examples, each with its own scene.
        test: number of test examples, each with its own scene.
        objects: number of objects in every scene.
        size: height and width in pixels.
    """
    counts: dict[Split, int] = {"train": train, "test": test}
    for split, count in counts.items():
        with adding_files(Path(output_dir) / split) as folder:
            annotations: list[dict[str, Any]] = []
            proposals: dict[str, list[dict[str, Any]]] = {}
            for index in range(count):
                scene, phrase = draw_expression(split, seed, index, KINDS[phrases], objects, size)
                name = f"{index:05d}.png"
                scene.image.save(folder / name)
                boxes = [_width_and_height(thing.box) for thing in scene.objects]
                proposals[name] = [{"box": box} for box in boxes]
                annotations.append(
                    {
                        "id": index,
                        "file_name": name,
                        "caption": phrase.text,
                        "bbox": boxes[phrase.target],
                        "width": size,
                        "height": size,
                        "kind": phrase.kind,
                    }
                )
            for file, content in (("annotations.json", annotations), ("proposals.json", proposals)):
                (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _width_and_height(box: tuple[int, int, int, int]) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
