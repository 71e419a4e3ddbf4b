"""Captions of scenes for masked language modeling: true sentences, each with a masked word that the image reveals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_prompt_models.playground.drawing import COLOURS
from hf_prompt_models.playground.scenes import POSITIONS, SCENE_SHAPES, SIZES, Phrase, SceneObject, stands


COLOURLESS = ("black", "white", "grey")
"""Colours for which captions may also use the word "none"."""


@dataclass(frozen=True)
class Statement:
    """A true sentence about a scene with one word to predict.

    Attributes:
        words: lower-case words of the sentence; the full stop is a separate word.
        answer: index of the word to predict.
    """

    words: tuple[str, ...]
    answer: int


def caption_words() -> list[str]:
    """Return all words of the captions."""
    small = (
        "the a object is in color there none left of right above below larger smaller than same as on at top bottom ."
    )
    return [*dict.fromkeys([*small.split(), *COLOURS, *SCENE_SHAPES, *SIZES])]


def state(objects: Sequence[SceneObject], rng: np.random.Generator, phrases: Sequence[Phrase]) -> Statement:
    """Sample a true statement about a scene.

    Args:
        objects: objects of the scene.
        rng: random generator of all choices.
        phrases: the phrases of `unique_phrases(objects)` that the statement may use.
    """
    phrase = phrases[int(rng.integers(len(phrases)))]
    thing = objects[phrase.target]
    named = [word for word in phrase.text.split() if word in SCENE_SHAPES]
    predicates = [("is in {} color", thing.colour, 3.0)] * (phrase.kind != "color")
    if "object" in phrase.text.split():
        predicates.append(("is a {}", thing.shape, 2.0))
    if phrase.kind not in ("size", "relation"):
        predicates.append(("is {}", thing.size, 0.5))
    if phrase.kind not in ("position", "relation"):
        predicates += [
            (f"is {at.rsplit(' ', 1)[0]} {{}}", at.rsplit(" ", 1)[1], 0.3) for at in POSITIONS if stands(thing, at)
        ]
    weights = np.array([weight for _, _, weight in predicates])
    predicate, answer, _ = predicates[rng.choice(len(predicates), p=weights / weights.sum())]
    if "color" in predicate and thing.colour in COLOURLESS and rng.random() < 0.5:
        answer = "none"
    words = f"{phrase.text} {predicate.format(answer)} .".split()
    place = len(words) - 1 - words[::-1].index(answer)
    # Mask the shape instead, but only if no other object has the stated colour.
    if answer == thing.colour and len(named) == 1 and phrase.kind == "shape":
        same = [other for other in objects if other.colour == thing.colour]
        if len(same) == 1 and rng.random() < 0.4:
            place = words.index(thing.shape)
    return Statement(tuple(words), place)
