"""The demo's video tasks: drawn motions written as mp4 files, one folder a class."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hf_prompt_models.data.videos.writing import write_video

from .motions import OBJECTS, PAIRS, draw_opposites


Task = Literal["motions", "combinations"]
Split = Literal["train", "test"]

# few_shot_task.py has streams 2 and 3.
_STREAMS: dict[tuple[Task, Split], int] = {
    ("motions", "train"): 4,
    ("motions", "test"): 5,
    ("combinations", "train"): 6,
    ("combinations", "test"): 7,
}

# The motions of a single object that is always in the picture: those a combination's object can be seen doing.
_COMBINED_PAIRS = PAIRS[:4]


class _Opposites(NamedTuple):
    """Two classes that are drawn together: their names, the pair of motions and, where it is fixed, the object."""

    class_names: tuple[str, str]
    pair: tuple[str, str]
    shape: str | None


def _opposites(task: Task, split: Split) -> list[_Opposites]:
    if task == "motions":
        return [_Opposites(pair, pair, None) for pair in PAIRS]
    # Each object's test labels are a whole pair: the object's name alone does not decide between them.
    return [
        _Opposites((f"a {shape} {pair[0]}", f"a {shape} {pair[1]}"), pair, shape)
        for number, shape in enumerate(OBJECTS)
        for pair_number, pair in enumerate(_COMBINED_PAIRS)
        if (number % len(_COMBINED_PAIRS) == pair_number) == (split == "test")
    ]


def clip_class_names(task: Task, split: Split) -> list[str]:
    """The classes of a task's split; opposites are neighbours.

    Args:
        task: "motions" has the 12 motions of `PAIRS` in both splits, done by any object. "combinations" has labels
            "a <object> <motion>", 60 to train on and 20 others to test on; every word and every motion of the test
            labels occurs in training, and so does every object.
        split: "train" or "test".
    """
    return [name for opposites in _opposites(task, split) for name in opposites.class_names]


def write_clip_folder(
    output_dir: str | Path,
    *,
    seed: int,
    task: Task = "motions",
    train_per_class: int = 32,
    test_per_class: int = 10,
    size: int = 64,
) -> None:
    """Writes a task as a folder of videos, `output_dir/{train,test}/<class name>/<number>.mp4`.

    The same arguments draw the same frames, and write the same bytes with the same build of FFmpeg. Fewer clips are
    the first of more clips. Clips of one number in opposite classes are made of the same frames in another order, see
    `draw_opposites`.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the task; nothing is shared between seeds but the classes.
        task: see `clip_class_names`.
        train_per_class, test_per_class: how many clips of each class.
        size: height and width in pixels, even.
    """
    counts: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
    for split, count in counts.items():
        for number, (class_names, pair, shape) in enumerate(_opposites(task, split)):
            folders = [Path(output_dir) / split / name for name in class_names]
            for index in range(count):
                rng = np.random.default_rng((_STREAMS[task, split], seed, number, index))
                for folder, frames in zip(folders, draw_opposites(pair, rng, shape, size), strict=True):
                    write_video(folder / f"{index:03d}.mp4", frames)
