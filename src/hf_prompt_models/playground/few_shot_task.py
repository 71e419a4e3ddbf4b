"""The demo's few-shot task: objects that pre-training knows, in styles that it never saw."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from .drawing import Placement, shape_mask, to_image
from .styles import blueprint, chalk, neon, sketch


CLASS_NAMES = (
    "boat",
    "bottle",
    "butterfly",
    "cactus",
    "car",
    "cup",
    "fish",
    "flower",
    "house",
    "key",
    "mushroom",
    "umbrella",
)

STYLES = (blueprint, chalk, neon, sketch)

Split = Literal["train", "test"]

_STREAMS: dict[Split, int] = {"train": 2, "test": 3}  # pictures.py has 0, pretraining.py 1


def draw_example(class_name: str, split: Split, seed: int, index: int, size: int = 80) -> Image.Image:
    """Draws example `index` of a class: the object, large, in one of `STYLES`.

    Args:
        class_name: one of `CLASS_NAMES`.
        split: "train" and "test" are disjoint random streams of the same seed.
        seed: names the task; nothing is shared between seeds but the classes and the styles.
        index: which example of the class.
        size: height and width in pixels.

    Returns:
        An RGB image.

    Raises:
        ValueError: `class_name` is not in `CLASS_NAMES`.
    """
    if class_name not in CLASS_NAMES:
        raise ValueError(f"Unknown class {class_name!r}; known are {', '.join(CLASS_NAMES)}.")
    rng = np.random.default_rng((_STREAMS[split], seed, CLASS_NAMES.index(class_name), index))
    style = STYLES[rng.integers(len(STYLES))]
    x, y = rng.uniform(0.45, 0.55, 2)
    placement = Placement(
        float(x),
        float(y),
        rng.uniform(0.75, 0.95),
        rng.normal(0, 10),
        rng.uniform(0.85, 1.18),
        rng.random() < 0.5,
    )
    # The styles work on pixels, so they are drawn at twice the size and averaged.
    return to_image(style(shape_mask(class_name, placement, 2 * size, 2 * size), rng)).reduce(2)


def write_image_folder(
    output_dir: str | Path, *, seed: int, train_per_class: int = 32, test_per_class: int = 50
) -> None:
    """Writes the demo's task as an image folder, `output_dir/{train,test}/<class name>/<number>.png`.

    The same arguments write the same bytes. Fewer examples are the first of more examples.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the task, see `draw_example`.
        train_per_class, test_per_class: how many pictures of each class.
    """
    from hf_prompt_models.utils.files import adding_files  # here: drawing alone does without torch

    counts: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
    for split, count in counts.items():
        for class_name in CLASS_NAMES:
            with adding_files(Path(output_dir) / split / class_name) as folder:
                for index in range(count):
                    draw_example(class_name, split, seed, index).save(folder / f"{index:03d}.png")
