"""Questions about captioned clips, with answers that are true by construction."""

from typing import NamedTuple

from .captioned_clips import CLIP_COLOURS, CaptionedClip
from .motions import OBJECTS


DOINGS: dict[str, str] = {
    "moving right": "moving right",
    "moving left": "moving left",
    "moving down": "moving down",
    "moving up": "moving up",
    "growing": "growing",
    "shrinking": "shrinking",
    "turning right": "turning right",
    "turning left": "turning left",
    "two objects parting": "parting",
    "two objects colliding": "colliding",
}

SIDES = ("left", "right", "top", "bottom")

_START_AND_END: dict[str, tuple[str, str]] = {
    "moving right": ("left", "right"),
    "moving left": ("right", "left"),
    "moving down": ("top", "bottom"),
    "moving up": ("bottom", "top"),
}


class Question(NamedTuple):
    """A question about a clip, its one right answer, and what it asks for: color, object, action, place or count."""

    question: str
    answer: str
    question_type: str


ANSWERS = tuple(dict.fromkeys([*CLIP_COLOURS, *OBJECTS, *DOINGS.values(), *SIDES, "one", "two"]))
"""Every answer there is."""


def questions_about(clip: CaptionedClip) -> list[Question]:
    """All questions that a clip answers. Their wording tells at most how many objects there are."""
    doing = DOINGS[clip.motion]
    found = []
    for performer in clip.performers:
        found.append(Question(f"what color is the {performer.shape}?", performer.colour, "color"))
        found.append(Question(f"what is the {performer.colour} object?", performer.shape, "object"))
    if len(clip.performers) == 1:
        (shape,) = (performer.shape for performer in clip.performers)
        found.append(Question(f"what is the {shape} doing?", doing, "action"))
        if clip.motion in _START_AND_END:
            start, end = _START_AND_END[clip.motion]
            found.append(Question(f"where is the {shape} at the beginning?", start, "place"))
            found.append(Question(f"where is the {shape} at the end?", end, "place"))
    else:
        found.append(Question("what are the two objects doing?", doing, "action"))
        for performer, side in zip(clip.performers, _sides(clip), strict=True):
            found.append(Question(f"on which side is the {performer.shape}?", side, "place"))
    found.append(Question("how many objects are there?", ("one", "two")[len(clip.performers) - 1], "count"))
    return found


def question_words() -> list[str]:
    """Every word of a question or an answer."""
    asked = "what color is the object objects doing are two on which side where at beginning end how many there"
    return [*asked.split(), *" ".join(ANSWERS).split()]


def _sides(clip: CaptionedClip) -> tuple[str, str]:
    """Where each of two objects is, seen from the other one."""
    first, second = (performer.track for performer in clip.performers)
    x, y = float((first.x - second.x).mean()), float((first.y - second.y).mean())
    if abs(x) > abs(y):
        return ("left", "right") if x < 0 else ("right", "left")
    return ("top", "bottom") if y < 0 else ("bottom", "top")
