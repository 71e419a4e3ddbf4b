"""Captions of scenes for pre-training with masked words: true sentences, each with a word that the picture answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_prompt_models.playground.drawing import COLOURS
from hf_prompt_models.playground.scenes import POSITIONS, SCENE_SHAPES, SIZES, Phrase, SceneObject, stands


COLOURLESS = ("black", "white", "grey")
"""Colours that captions also call "none"."""


@dataclass(frozen=True)
class Statement:
    """Attributes:
    words: a sentence, lower case, the full stop as a word of its own.
    answer: the place of the word to be guessed.
    """

    words: tuple[str, ...]
    answer: int


def caption_words() -> list[str]:
    """Every word that captions are made of."""
    small = (
        "the a object is in color there none left of right above below larger smaller than same as on at top bottom ."
    )
    return [*dict.fromkeys([*small.split(), *COLOURS, *SCENE_SHAPES, *SIZES])]


def state(objects: Sequence[SceneObject], rng: np.random.Generator, phrases: Sequence[Phrase]) -> Statement:
    """One true statement on a scene.

    Args:
        objects: of the scene.
        rng: chooses the words.
        phrases: those of `unique_phrases(objects)` that the statement may use.
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
    # Asking for the shape instead: only where what is said of it is true of no other object.
    if answer == thing.colour and len(named) == 1 and phrase.kind == "shape":
        same = [other for other in objects if other.colour == thing.colour]
        if len(same) == 1 and rng.random() < 0.4:
            place = words.index(thing.shape)
    return Statement(tuple(words), place)
