"""Drawing styles that pre-training never sees: what makes the demo's task a shift.

Each style is a function `(mask, rng) -> picture`: from the coverage of the object `(height, width)`, 0 to 1, it makes
the whole picture `(height, width, 3)`, RGB from 0 to 1. Lengths are fractions of the picture's height, so that a style
looks alike at every resolution.
"""

import colorsys

import numpy as np
from PIL import Image, ImageFilter

from .drawing import smooth_noise


def _ink(rng: np.random.Generator, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def _over(below: np.ndarray, above: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return below + (above - below) * amount[..., None]


def _filtered(mask: np.ndarray, kernel: ImageFilter.Filter) -> np.ndarray:
    image = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(kernel), dtype=np.float64) / 255


def _edge(mask: np.ndarray, width: float) -> np.ndarray:
    """A line of `width` (a fraction of the height) along the object's outline."""
    pixels = 2 * max(1, round(width * len(mask) / 2)) + 1
    return _filtered(mask, ImageFilter.MaxFilter(pixels)) - _filtered(mask, ImageFilter.MinFilter(pixels))


def _sway(mask: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """The mask with an unsteady hand's outline."""
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    down, right = ((smooth_noise(height, width, (7, 7), rng) - 0.5) * amount * height for _ in range(2))
    return mask[np.clip(rows + down, 0, height - 1).astype(int), np.clip(columns + right, 0, width - 1).astype(int)]


def sketch(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pencil: two passes of a thin, unsteady line on paper."""
    paper = rng.uniform(0.86, 1.0) - 0.05 * rng.random((*mask.shape, 1))
    line = np.maximum(*(_edge(_sway(mask, 0.05, rng), 0.018) for _ in range(2)))
    return _over(np.repeat(paper, 3, axis=2), np.full(3, rng.uniform(0.1, 0.35)), line * 0.9)


def neon(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A glowing tube bent along the outline, at night."""
    colour = _ink(rng, 0.9, 1.0)
    tube = _edge(mask, 0.025)
    glow = _filtered(tube, ImageFilter.GaussianBlur(0.05 * len(mask)))
    return 0.04 + 1.6 * glow[..., None] * colour + tube[..., None] * (0.45 + 0.55 * colour)


def chalk(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Chalk on a blackboard: a broken outline, filled with loose slanting strokes."""
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
    """A white line drawing with a grid on blue paper."""
    height, width = mask.shape
    rows, columns = np.mgrid[:height, :width]
    pitch = height // 12
    grid = ((rows + rng.integers(pitch)) % pitch == 0) | ((columns + rng.integers(pitch)) % pitch == 0)
    paper = np.array([0.10, 0.24, 0.52]) * rng.uniform(0.7, 1.3)
    return _over(
        np.broadcast_to(paper, (height, width, 3)), np.full(3, 0.95), np.maximum(_edge(mask, 0.02), 0.3 * grid)
    )
