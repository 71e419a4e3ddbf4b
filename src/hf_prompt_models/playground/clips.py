"""Video classification tasks of the demo: drawn motions written as mp4 files, with one folder per class."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from hf_prompt_models.data.videos.writing import write_video

from .motions import OBJECTS, PAIRS, draw_opposites


Task = Literal["motions", "combinations"]
Split = Literal["train", "test"]

# few_shot_task.py uses streams 2 and 3.
_STREAMS: dict[tuple[Task, Split], int] = {
    ("motions", "train"): 4,
    ("motions", "test"): 5,
    ("combinations", "train"): 6,
    ("combinations", "test"): 7,
}

# The motions of a single object that is visible in all frames.
_COMBINED_PAIRS = PAIRS[:4]


class _Opposites(NamedTuple):
    """Two classes that are drawn together: their names, the pair of motions and, if it is fixed, the object."""

    class_names: tuple[str, str]
    pair: tuple[str, str]
    shape: str | None


def _opposites(task: Task, split: Split) -> list[_Opposites]:
    if task == "motions":
        return [_Opposites(pair, pair, None) for pair in PAIRS]
    # The test labels of an object are a complete pair, so that its name alone does not decide between them.
    return [
        _Opposites((f"a {shape} {pair[0]}", f"a {shape} {pair[1]}"), pair, shape)
        for number, shape in enumerate(OBJECTS)
        for pair_number, pair in enumerate(_COMBINED_PAIRS)
        if (number % len(_COMBINED_PAIRS) == pair_number) == (split == "test")
    ]


def clip_class_names(task: Task, split: Split) -> list[str]:
    """Return the class names of a task; opposite motions are next to each other.

    Args:
        task: "motions" has the 12 motions of `PAIRS` in both splits, with any object. "combinations" has labels
            "a <object> <motion>", 60 for training and 20 others for testing; every object and every motion of the
            test labels also occurs in training.
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
    """Write a task as a video folder, `output_dir/{train,test}/<class name>/<number>.mp4`.

    The same arguments draw the same frames, and write the same bytes with the same build of FFmpeg. A smaller number
    of clips gives the first ones of a larger number. Clips with the same number in opposite classes have the same
    frames in another order, see `draw_opposites`.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the task. Different seeds share only the classes.
        task: "motions" or "combinations", see `clip_class_names`.
        train_per_class: number of training clips per class.
        test_per_class: number of test clips per class.
        size: height and width in pixels; must be even.
    """
    counts: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
    for split, count in counts.items():
        for number, (class_names, pair, shape) in enumerate(_opposites(task, split)):
            folders = [Path(output_dir) / split / name for name in class_names]
            for index in range(count):
                rng = np.random.default_rng((_STREAMS[task, split], seed, number, index))
                for folder, frames in zip(folders, draw_opposites(pair, rng, shape, size), strict=True):
                    write_video(folder / f"{index:03d}.mp4", frames)
