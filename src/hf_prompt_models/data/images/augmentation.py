"""Random crops for training prompts of CLIP-like models, on PIL images."""

import math

import numpy as np
from PIL import Image, ImageOps


def random_resized_crop(
    image: Image.Image,
    size: int | None,
    generator: np.random.Generator,
    min_area: float = 0.08,
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Image.Image:
    """Crop a random part of an image and resize it to a square with bicubic interpolation.

    Args:
        image: any PIL image.
        size: side of the returned image in pixels; `None` returns the crop without resizing it.
        generator: random number generator.
        min_area: smallest area of the crop, as a fraction of the image area. The area is sampled uniformly between
            this fraction and the complete image.
        ratio: smallest and largest aspect ratio (width over height) of the crop, sampled uniformly on a logarithmic
            scale.
    """
    width, height = image.size
    for _ in range(10):
        area = width * height * generator.uniform(min_area, 1)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            break
    else:  # fall back to the centre of a very long image, as close to the allowed aspect ratios as possible
        w = min(width, round(height * ratio[1]))
        h = min(height, round(width / ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
    # Crop before resizing: `resize(box=…)` would mix in pixels from outside the box.
    part = image.crop((left, top, left + w, top + h))
    return part if size is None else part.resize((size, size), Image.Resampling.BICUBIC)


def augment(
    image: Image.Image, size: int | None, generator: np.random.Generator, min_area: float = 0.08
) -> Image.Image:
    """Apply CoOp's training transform: a random resized crop and, with probability 0.5, a horizontal flip."""
    image = random_resized_crop(image, size, generator, min_area)
    return ImageOps.mirror(image) if generator.random() < 0.5 else image
