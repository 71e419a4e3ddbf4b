"""The few-shot task of the demo: objects that the tiny CLIP was trained on, in styles that it was not trained on.

Each style is a function `(mask, rng) -> image`. The mask is the coverage of the object, of shape (height, width) with
values from 0 to 1. The image has shape (height, width, 3), RGB from 0 to 1. Lengths are fractions of the image height,
so that a style looks the same at every resolution.
"""

import colorsys
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from .drawing import Placement, shape_mask, smooth_noise, to_image


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

Split = Literal["train", "test"]

_STREAMS: dict[Split, int] = {"train": 2, "test": 3}  # pre-training uses streams 0 and 1


# -- styles ----------------------------------------------------------------------------------------------------------


def _ink(rng: np.random.Generator, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _over(below: np.ndarray, above: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return below + (above - below) * amount[..., None]


def _filtered(mask: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    image = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(kernel), dtype=np.float64) / 255


def _edge(mask: np.ndarray, width: float) -> np.ndarray:
    """Return a line along the outline of the object; `width` is a fraction of the height."""
    pixels = 2 * max(1, round(width * len(mask) / 2)) + 1
    return _filtered(mask, ImageFilter.MaxFilter(pixels)) - _filtered(mask, ImageFilter.MinFilter(pixels))


def _sway(mask: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return the mask with a wobbly outline, as if drawn freehand."""
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    down, right = ((smooth_noise(height, width, (7, 7), rng) - 0.5) * amount * height for _ in range(2))
    return mask[np.clip(rows + down, 0, height - 1).astype(int), np.clip(columns + right, 0, width - 1).astype(int)]


def sketch(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a pencil sketch: two passes of a thin, wobbly line on paper."""
    paper = rng.uniform(0.86, 1.0) - 0.05 * rng.random((*mask.shape, 1))
    line = np.maximum(*(_edge(_sway(mask, 0.05, rng), 0.018) for _ in range(2)))
    return _over(np.repeat(paper, 3, axis=2), np.full(3, rng.uniform(0.1, 0.35)), line * 0.9)


def neon(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a neon sign: a glowing tube along the outline, on a dark background."""
    colour = _ink(rng, 0.9, 1.0)
    tube = _edge(mask, 0.025)
    glow = _filtered(tube, ImageFilter.GaussianBlur(0.05 * len(mask)))
    return 0.04 + 1.6 * glow[..., None] * colour + tube[..., None] * (0.45 + 0.55 * colour)


def chalk(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw with chalk on a blackboard: a broken outline, filled with loose diagonal strokes."""
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width] / height
    slant = rng.choice((-1, 1)) * rng.uniform(0.5, 1.5)
    strokes = np.sin(2 * np.pi * rng.uniform(9, 13) * (rows + slant * columns)) > 0.45
    grain = 0.35 + 0.65 * (rng.random(mask.shape) < 0.75)
    dust = 0.12 * smooth_noise(height, width, (5, 5), rng)
    board = np.array([0.10, 0.22, 0.17]) if rng.random() < 0.5 else np.array([0.14, 0.14, 0.15])
    amount = np.maximum(_edge(mask, 0.03), 0.7 * strokes * mask) * grain
    return _over(board + dust[..., None], _ink(rng, rng.uniform(0, 0.35), 0.97), amount)


def blueprint(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a blueprint: white lines and a grid on blue paper."""
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    pitch = height // 12
    grid = ((rows + rng.integers(pitch)) % pitch == 0) | ((columns + rng.integers(pitch)) % pitch == 0)
    paper = np.array([0.10, 0.24, 0.52]) * rng.uniform(0.7, 1.3)
    return _over(
        np.broadcast_to(paper, (height, width, 3)), np.full(3, 0.95), np.maximum(_edge(mask, 0.02), 0.3 * grid)
    )


STYLES = (blueprint, chalk, neon, sketch)


# -- examples --------------------------------------------------------------------------------------------------------


def draw_example(class_name: str, split: Split, seed: int, index: int, size: int = 80) -> Image.Image:
    """Draw one example of a class: a large object in one of `STYLES`.

    Args:
        class_name: one of `CLASS_NAMES`.
        split: "train" or "test"; the splits of a seed use different random streams.
        seed: random seed of the task. Different seeds share only the classes and the styles.
        index: index of the example in the class.
        size: height and width in pixels.

    Returns:
        An RGB image.

    Raises:
        ValueError: if `class_name` is not in `CLASS_NAMES`.
    """
    if class_name not in CLASS_NAMES:
        raise ValueError(f"Unknown class {class_name!r}. Choose one of {', '.join(CLASS_NAMES)}.")
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
    # The styles operate on pixels, so the image is drawn at twice the size and averaged for antialiasing.
    return to_image(style(shape_mask(class_name, placement, 2 * size, 2 * size), rng)).reduce(2)


def write_image_folder(
    output_dir: str | Path, *, seed: int, train_per_class: int = 32, test_per_class: int = 50
) -> None:
    """Write the task of the demo as an image folder, `output_dir/{train,test}/<class name>/<number>.png`.

    The same arguments write the same bytes, and a smaller number of examples gives the first ones of a larger number.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the task, see `draw_example`.
        train_per_class: number of training images per class.
        test_per_class: number of test images per class.
    """
    from hf_prompt_models.utils.files import adding_files  # imported here because drawing does not need torch

    counts: dict[Split, int] = {"train": train_per_class, "test": test_per_class}
    for split, count in counts.items():
        for class_name in CLASS_NAMES:
            with adding_files(Path(output_dir) / split / class_name) as folder:
                for index in range(count):
                    draw_example(class_name, split, seed, index).save(folder / f"{index:03d}.png")
