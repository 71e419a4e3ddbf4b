"""Phrases that mean exactly one object of a scene, by its attributes or by a relation to another object."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from .scenes import SCENE_SHAPES, SceneObject


Kind = Literal["shape", "size", "position", "color", "relation"]

ATTRIBUTE_KINDS: tuple[Kind, ...] = ("shape", "size")
"""What an object is by itself. Its own colour is a kind for itself: paint changes it."""

POSITIONS = ("on the left", "on the right", "at the top", "at the bottom")

CLEARLY = 0.15
"""How much further left, or above, a thing must be for the words to hold, in fractions of the picture's side."""


@dataclass(frozen=True)
class Phrase:
    """Attributes:
    text: such as "the large heart".
    target: which object of the scene it means.
    kind: what it takes to tell.
    """

    text: str
    target: int
    kind: Kind


def left_of(one: SceneObject, other: SceneObject) -> bool:
    return one.middle[0] < other.middle[0] - CLEARLY


def above(one: SceneObject, other: SceneObject) -> bool:
    return one.middle[1] < other.middle[1] - CLEARLY


def larger(one: SceneObject, other: SceneObject) -> bool:
    return (one.size, other.size) == ("large", "small")


def same_colour(one: SceneObject, other: SceneObject) -> bool:
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
    """Whether an object stands clearly in the half of the picture that one of `POSITIONS` names."""
    x, y = thing.middle
    return {
        "on the left": x < 0.5 - CLEARLY / 2,
        "on the right": x > 0.5 + CLEARLY / 2,
        "at the top": y < 0.5 - CLEARLY / 2,
        "at the bottom": y > 0.5 + CLEARLY / 2,
    }[position]


def unique_phrases(objects: Sequence[SceneObject]) -> list[Phrase]:
    """Every phrase this module knows that is true of exactly one of `objects`, in the scene's order.

    A phrase says no more than it needs: "the large heart" only where "the heart" means several.
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
