"""Clips with captions and questions: the motions of `playground.motions` with objects of known shape and colour.

The answers to the questions are correct by construction. Clips are written to disk as mp4 files, with a list of
captions and a list of questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.utils.files import adding_files, write_json_lines

from .drawing import COLOURS, GROUNDS, Placement, contrast, draw_ground, draw_object, to_image
from .motions import FRAMES, OBJECTS, PAIRS, Track, make_tracks


VERBS: dict[str, str] = {
    "moving right": "moves to the right",
    "moving left": "moves to the left",
    "moving down": "moves down",
    "moving up": "moves up",
    "growing": "grows",
    "shrinking": "shrinks",
    "turning right": "turns to the right",
    "turning left": "turns to the left",
    "two objects parting": "part",
    "two objects colliding": "collide",
}
"""Verb phrase of each motion that is visible in four frames, which are all except blinking and vanishing."""

CLIP_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black")
"""The `COLOURS` that can be told apart on an object of a few pixels."""

Split = Literal["pretraining", "train", "test"]

_STREAMS: dict[Split, int] = {"pretraining": 13, "train": 14, "test": 15}  # scenes.py uses stream 12
_CHOICE_STREAM = 17  # pre-training uses stream 16
_PARTING = "two objects parting"
_PAIRS = tuple(pair for pair in PAIRS if pair[0] in VERBS)
_TWO_OBJECTS = 0.3
"""Share of clips with two objects."""


@dataclass(frozen=True)
class Performer:
    """An object of a clip: its appearance and its track over the frames."""

    shape: str
    colour: str
    texture: str
    tilt: float
    stretch: float
    track: Track

    @property
    def name(self) -> str:
        """Name with article, such as "an orange key"."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}"

    def boxes(self) -> np.ndarray:
        """Return the boxes (left, top, right, bottom) as fractions of the image side, of shape (frames, 4)."""
        x, y, half = self.track.x, self.track.y, self.track.size / 2
        return np.stack([x - half, y - half, x + half, y + half], axis=1)


@dataclass(frozen=True)
class CaptionedClip:
    """Description of a clip; `draw` renders its frames.

    Attributes:
        motion: one of `VERBS`.
        performers: one object, or two objects of different shapes and colours, sorted by shape.
        frames: number of frames.
        ground: colour or material of the background.
        ground_seed: random seed of the background.
    """

    motion: str
    performers: tuple[Performer, ...]
    frames: int
    ground: str
    ground_seed: int

    @cached_property
    def caption(self) -> str:
        """Caption, such as "a red triangle moves to the left" or "a blue key and a black tree collide"."""
        return f"{' and '.join(performer.name for performer in self.performers)} {VERBS[self.motion]}"

    def draw(self, size: int = 64, frames: Sequence[int] | None = None) -> np.ndarray:
        """Draw frames of the clip.

        Args:
            size: height and width in pixels.
            frames: indices of the frames to draw. Default: all.

        Returns:
            RGB array of shape (frames, size, size, 3), uint8.
        """
        ground = _pale_ground(self.ground, size, self.ground_seed)
        images = []
        for frame in range(self.frames) if frames is None else frames:
            image = ground
            for each in self.performers:
                x, y, diameter, angle, _ = (float(part[frame]) for part in each.track)
                placement = Placement(x, y, diameter, each.tilt + angle, each.stretch)
                image = draw_object(image, each.shape, each.colour, each.texture, placement)
            images.append(np.asarray(to_image(image)))
        return np.stack(images)


def describe_clip(split: Split, seed: int, index: int) -> CaptionedClip:
    """Sample the description of one clip.

    Args:
        split: "pretraining", "train" or "test"; the splits of a seed use different random streams.
        seed: random seed of the stream of clips.
        index: index of the clip in the stream.
    """
    rng = np.random.default_rng((_STREAMS[split], seed, index))
    two = rng.random() < _TWO_OBJECTS
    pairs = [pair for pair in _PAIRS if (pair[0] == _PARTING) == two]
    pair = pairs[int(rng.integers(len(pairs)))]
    backwards = int(rng.integers(2))
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    ground, ground_seed = str(rng.choice(GROUNDS if rng.random() < 0.3 else list(COLOURS))), int(rng.integers(2**32))
    behind = _pale_ground(ground, 16, ground_seed)
    tracks = make_tracks(pair, count, rng)
    shapes = sorted(rng.choice(OBJECTS, len(tracks), replace=False).tolist())
    seen = [colour for colour in CLIP_COLOURS if contrast(colour, behind) > 0.6]
    colours = rng.choice(seen, len(tracks), replace=False).tolist()
    performers = tuple(
        Performer(
            shape,
            colour,
            texture=str(rng.choice(["plain", "striped", "dotted"], p=(0.7, 0.15, 0.15))),
            tilt=float(rng.normal(0, 6)),
            stretch=float(rng.uniform(0.85, 1.18)),
            track=Track(*(part[::-1] for part in tracks[place])) if backwards else tracks[place],
        )
        for shape, colour, place in zip(shapes, colours, rng.permutation(len(tracks)), strict=True)
    )
    return CaptionedClip(pair[backwards], performers, count, ground, ground_seed)


def _pale_ground(ground: str, size: int, seed: int) -> np.ndarray:
    """Draw a pale background, on which the objects are visible."""
    rng = np.random.default_rng(seed)
    return 1 - rng.uniform(0.2, 0.4) * (1 - draw_ground(ground, size, size, rng))


def distinct_clips(split: Split, seed: int, count: int) -> list[CaptionedClip]:
    """Return the first `count` clips of a stream that have different captions."""
    found: dict[str, CaptionedClip] = {}
    index = 0
    while len(found) < count:
        clip = describe_clip(split, seed, index)
        found.setdefault(clip.caption, clip)
        index += 1
    return list(found.values())


# -- questions -------------------------------------------------------------------------------------------------------


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
    """A question about a clip.

    Attributes:
        question: the question.
        answer: the only correct answer.
        question_type: "color", "object", "action", "place" or "count".
    """

    question: str
    answer: str
    question_type: str


ANSWERS = tuple(dict.fromkeys([*CLIP_COLOURS, *OBJECTS, *DOINGS.values(), *SIDES, "one", "two"]))
"""All possible answers."""


def questions_about(clip: CaptionedClip) -> list[Question]:
    """Return all questions about a clip. Their wording reveals at most the number of objects."""
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


def _sides(clip: CaptionedClip) -> tuple[str, str]:
    """Return the side of each of two objects relative to the other one."""
    first, second = (performer.track for performer in clip.performers)
    x, y = float((first.x - second.x).mean()), float((first.y - second.y).mean())
    if abs(x) > abs(y):
        return ("left", "right") if x < 0 else ("right", "left")
    return ("top", "bottom") if y < 0 else ("bottom", "top")


# -- files -----------------------------------------------------------------------------------------------------------


def write_captioned_clips(
    output_dir: str | Path, *, seed: int, train: int = 300, test: int = 200, questions: int = 3, size: int = 64
) -> None:
    """Write captioned clips to `output_dir/{train,test}/{captions.jsonl,questions.jsonl,<number>.mp4}`.

    Each line of the captions has `video` and `caption`. Each line of the questions has `video`, `question`, `answer`
    and `answer_type`. Test clips have different captions; training clips may share captions. The same arguments draw
    the same frames, and write the same bytes with the same build of FFmpeg.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the clips. Different seeds share only the words.
        train: number of training clips.
        test: number of test clips.
        questions: maximum number of questions per clip, sampled from all questions about the clip.
        size: height and width in pixels; must be even.
    """
    drawn = {
        "train": [describe_clip("train", seed, index) for index in range(train)],
        "test": distinct_clips("test", seed, test),
    }
    for number, (split, clips) in enumerate(drawn.items()):
        with adding_files(Path(output_dir) / split) as folder:
            captions, asked = [], []
            for index, clip in enumerate(clips):
                name = f"{index:05d}.mp4"
                write_video(folder / name, clip.draw(size))
                captions.append({"video": name, "caption": clip.caption})
                rng = np.random.default_rng((_CHOICE_STREAM, seed, number, index))
                possible = questions_about(clip)
                for place in sorted(rng.permutation(len(possible))[:questions].tolist()):
                    question, answer, kind = possible[place]
                    asked.append({"video": name, "question": question, "answer": answer, "answer_type": kind})
            write_json_lines(folder / "captions.jsonl", captions)
            write_json_lines(folder / "questions.jsonl", asked)
