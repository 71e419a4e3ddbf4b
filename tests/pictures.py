"""Small image folders for tests: each class has its own colour, so that a classifier can be trained."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(directory: Path, classes: dict[str, int], seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """Write `count` noisy images of one colour for each class of `classes`."""
    for number, (name, count) in enumerate(classes.items()):
        (directory / name).mkdir(parents=True)
        colour = np.random.default_rng([99, number]).integers(30, 220, 3)
        for index in range(count):
            generator = np.random.default_rng([seed, number, index])
            pixels = colour + generator.integers(-25, 25, (size[1], size[0], 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(directory / name / f"{index:03}.png")
    return directory
