"""The random crops that CLIP-based prompt learning is trained with, on PIL images."""

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
    """Cut out a random part and resize it (bicubic) to a square.

    Args:
        image: any PIL image.
        size: side of the result in pixels; `None` leaves the part as it is.
        generator: where chance comes from.
        min_area: the part's area is drawn between this share of the image's and all of it.
        ratio: range of the part's width over height, drawn evenly on a logarithmic scale.
    """
    width, height = image.size
    for _ in range(10):
        area = width * height * generator.uniform(min_area, 1)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(generator.integers(width - w + 1)), int(generator.integers(height - h + 1))
            break
    else:  # a very long image: its middle, as near to the allowed ratios as it can be
        w = min(width, round(height * ratio[1]))
        h = min(height, round(width / ratio[0]))
        left, top = (width - w) // 2, (height - h) // 2
    # Cropped first: resizing a box of the whole image would let pixels around it bleed in.
    part = image.crop((left, top, left + w, top + h))
    return part if size is None else part.resize((size, size), Image.Resampling.BICUBIC)


def augment(
    image: Image.Image, size: int | None, generator: np.random.Generator, min_area: float = 0.08
) -> Image.Image:
    """CoOp's training transform: a random resized crop and, every second time, a mirror image."""
    image = random_resized_crop(image, size, generator, min_area)
    return ImageOps.mirror(image) if generator.random() < 0.5 else image
