"""Clips with sentences: the motions of `playground.motions`, done by objects whose shapes and colours are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np

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
"""What captions say of each motion that four frames tell: all but blinking and vanishing."""

CLIP_COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black")
"""Those of `COLOURS` that stay apart where an object is a few pixels large."""

Split = Literal["pretraining", "train", "test"]

_STREAMS: dict[Split, int] = {"pretraining": 13, "train": 14, "test": 15}  # scene_files.py has stream 12
_PARTING = "two objects parting"
_PAIRS = tuple(pair for pair in PAIRS if pair[0] in VERBS)
_TWO_OBJECTS = 0.3
"""Share of clips with two objects."""


@dataclass(frozen=True)
class Performer:
    """An object of a clip: what it looks like, and its course, an array a property over the clip's frames."""

    shape: str
    colour: str
    texture: str
    tilt: float
    stretch: float
    track: Track

    @property
    def name(self) -> str:
        """Such as "an orange key"."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}"

    def boxes(self) -> np.ndarray:
        """Left, top, right and bottom in each frame, (frames, 4), in fractions of the picture's side."""
        x, y, half = self.track.x, self.track.y, self.track.size / 2
        return np.stack([x - half, y - half, x + half, y + half], axis=1)


@dataclass(frozen=True)
class CaptionedClip:
    """A clip that is described, and drawn when asked for.

    Attributes:
        motion: one of `VERBS`.
        performers: one object, or two of different shapes and colours, by their shapes' names.
        frames: how many the clip has.
        ground, ground_seed: what is behind the objects.
    """

    motion: str
    performers: tuple[Performer, ...]
    frames: int
    ground: str
    ground_seed: int

    @cached_property
    def caption(self) -> str:
        """Such as "a red triangle moves to the left" or "a blue key and a black tree collide"."""
        return f"{' and '.join(performer.name for performer in self.performers)} {VERBS[self.motion]}"

    def draw(self, size: int = 64, frames: Sequence[int] | None = None) -> np.ndarray:
        """Pictures of the clip.

        Args:
            size: height and width in pixels.
            frames: which; default: all.

        Returns:
            (frames, size, size, 3), RGB, uint8.
        """
        ground = _pale_ground(self.ground, size, self.ground_seed)
        pictures = []
        for frame in range(self.frames) if frames is None else frames:
            picture = ground
            for each in self.performers:
                x, y, diameter, angle, _ = (float(part[frame]) for part in each.track)
                placement = Placement(x, y, diameter, each.tilt + angle, each.stretch)
                picture = draw_object(picture, each.shape, each.colour, each.texture, placement)
            pictures.append(np.asarray(to_image(picture)))
        return np.stack(pictures)


def describe_clip(split: Split, seed: int, index: int) -> CaptionedClip:
    """Clip `index` of a split of the stream `seed`.

    Args:
        split: "pretraining", "train" and "test" are disjoint random streams of the same seed.
        seed: names the stream of clips.
        index: which clip of the stream.
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
    """Objects stand out of it."""
    rng = np.random.default_rng(seed)
    return 1 - rng.uniform(0.2, 0.4) * (1 - draw_ground(ground, size, size, rng))


def distinct_clips(split: Split, seed: int, count: int) -> list[CaptionedClip]:
    """The first `count` clips of a stream with captions that none before them has."""
    found: dict[str, CaptionedClip] = {}
    index = 0
    while len(found) < count:
        clip = describe_clip(split, seed, index)
        found.setdefault(clip.caption, clip)
        index += 1
    return list(found.values())


def all_captions() -> list[str]:
    """Every caption there is, in order."""
    single = [f"{_article(colour)} {colour} {shape}" for shape in sorted(OBJECTS) for colour in CLIP_COLOURS]
    two = [
        f"{one} and {other}"
        for one, other in combinations(single, 2)
        if one.split()[1] != other.split()[1] and one.split()[2] != other.split()[2]
    ]
    return [f"{who} {verb}" for motion, verb in VERBS.items() for who in (two if motion.startswith("two") else single)]


def _article(colour: str) -> str:
    return "an" if colour[0] in "aeiou" else "a"
