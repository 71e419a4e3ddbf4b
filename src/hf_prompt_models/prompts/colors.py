"""Colour prompts: image regions painted in colours that a text can name (CPT, arXiv 2109.11797, §3.1)."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from hf_prompt_models.utils.describing import describe_value


Rgb = tuple[int, int, int]
Color = tuple[str, Rgb]
"""Word for a colour, and its RGB value."""
PixelBox = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, as in PIL: column x2 and row y2 are outside of the box."""

SEARCHED_COLORS: tuple[Color, ...] = (
    ("red", (240, 0, 30)),
    ("purple", (155, 50, 210)),
    ("yellow", (255, 255, 25)),
    ("blue", (0, 10, 255)),
    ("green", (0, 255, 0)),
    ("pink", (255, 170, 230)),
)
"""Colours found by the cross-modal search of the paper; the first five are those of the released code (thunlp/CPT)."""

FREQUENCY_COLORS: tuple[Color, ...] = (
    ("red", (255, 0, 0)),
    ("black", (0, 0, 0)),
    ("blue", (0, 0, 255)),
    ("green", (0, 255, 0)),
    ("yellow", (255, 255, 0)),
    ("brown", (165, 42, 42)),
)
"""Baseline of the paper: the most frequent colour words, each with its standard colour."""

DEFAULT_ALPHA = 127
"""Opacity of colours from 0 to 255, as in the released code; the image remains visible."""


SEARCH_TEMPLATE = "a photo in [MASK] color."
BLOCK_SIDE = 128
"""Side of the blocks of one colour in pixels, as in the released code."""
FINEST_STEP = 5
"""Smallest step of the search, which is the grid of the released code; finer steps have no effect."""


class WordModel(Protocol):
    """Protocol of models for the search for colours, such as the models of CPT."""

    def word_probabilities(
        self, processor: Any, images: Sequence[Image.Image], sentence: str, words: Sequence[str]
    ) -> torch.Tensor:
        """Return the probabilities of words in the blank of a sentence, (images, words)."""
        ...


def check_colors(colors: Sequence[Any]) -> list[Color]:
    """Return a palette as a list of (name, (red, green, blue)), in the given order.

    Args:
        colors: pairs of a name and an RGB value.

    Raises:
        ValueError: if the palette is empty, a name repeats, or a colour is not three integers from 0 to 255.
    """
    checked: list[Color] = []
    for entry in colors:
        try:
            name, rgb = entry
            red, green, blue = rgb
        except (TypeError, ValueError):
            raise ValueError(
                f"Expected a colour as a pair such as ('red', (240, 0, 30)), got {describe_value(entry)}."
            ) from None
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"Expected a word as the name of a colour, got {describe_value(name)}.")
        checked.append((name.strip(), check_rgb((red, green, blue), name)))
    if not checked:
        raise ValueError("The palette is empty. Pass at least one colour, a pair such as ('red', (240, 0, 30)).")
    names = [name for name, _ in checked]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"The palette contains {', '.join(sorted(twice))} more than once. Pass each colour once.")
    return checked


def check_rgb(rgb: Sequence[Any], name: str) -> Rgb:
    """Return a colour as three integers.

    Args:
        rgb: red, green and blue.
        name: name of the colour in the error message.

    Raises:
        ValueError: if they are not integers from 0 to 255.
    """
    if not all(isinstance(part, int | float | np.integer) and 0 <= part <= 255 and part == int(part) for part in rgb):
        raise ValueError(f"Expected three integers from 0 to 255 for the colour {name!r}, got {tuple(rgb)}.")
    red, green, blue = map(int, rgb)
    return red, green, blue


def check_alpha(alpha: int) -> int:
    """Return the opacity of colours as an integer.

    Args:
        alpha: opacity from 1 to 255.

    Raises:
        ValueError: if it is not an integer from 1 to 255.
    """
    if not 1 <= alpha <= 255 or alpha != int(alpha):
        raise ValueError(f"Expected alpha to be an integer from 1 (almost transparent) to 255 (opaque), got {alpha}.")
    return int(alpha)


def clip_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[PixelBox]:
    """Return boxes in integer pixels: corners are truncated by `int()` and clipped to the image.

    Args:
        boxes: x1, y1, x2, y2 in pixels.
        size: width and height of the image.

    Raises:
        ValueError: if a box is not four finite numbers, or is completely outside of the image. The message contains
            its index.

    Example:
        ```python
        >>> from hf_prompt_models.prompts import clip_boxes
        >>> clip_boxes([[-3, 2.7, 30, 90]], size=(64, 48))
        [(0, 2, 30, 48)]

        ```
    """
    width, height = size
    clipped = []
    for index, box in enumerate(boxes):
        try:
            corners = [float(corner) for corner in box]
        except (TypeError, ValueError):
            raise ValueError(
                f"Expected four numbers x1, y1, x2, y2 for box {index}, got {describe_value(box)}."
            ) from None
        if len(corners) != 4 or not all(map(math.isfinite, corners)):
            raise ValueError(f"Expected four numbers x1, y1, x2, y2 for box {index}, got {corners}.")
        x1, y1, x2, y2 = map(int, corners)
        x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
        if x1 >= x2 or y1 >= y2:
            raise ValueError(
                f"Box {index} is empty: {corners} (x1, y1, x2, y2 in pixels) does not overlap the image of "
                f"{width} x {height} pixels. Leave it out."
            )
        clipped.append((x1, y1, x2, y2))
    return clipped


def check_masks(masks: Sequence[Any], size: tuple[int, int]) -> list[np.ndarray]:
    """Return masks as boolean arrays (height, width).

    Args:
        masks: PIL images or arrays with two dimensions; nonzero pixels are inside.
        size: width and height of the image.

    Raises:
        ValueError: if the size of a mask differs from that of the image, or the mask is empty. The message contains
            its index.
    """
    width, height = size
    checked = []
    for index, mask in enumerate(masks):
        inside = np.asarray(mask) != 0
        if inside.shape != (height, width):
            raise ValueError(
                f"Mask {index} has the shape {inside.shape}, but the image has height {height} and width "
                f"{width}. Pass masks of shape {(height, width)}."
            )
        if not inside.any():
            raise ValueError(f"Mask {index} is empty: it contains no pixel. Leave it out.")
        checked.append(inside)
    return checked


def mask_boxes(masks: Sequence[np.ndarray]) -> list[PixelBox]:
    """Return the smallest box around each mask.

    Args:
        masks: boolean arrays (height, width).
    """
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    return boxes


def paint_box(image: Image.Image, box: PixelBox, rgb: Rgb, alpha: int = DEFAULT_ALPHA) -> None:
    """Blend a colour into a box of an image, in place: round((alpha * colour + (255 - alpha) * pixel) / 255).

    Args:
        image: RGB image.
        box: box of `clip_boxes`.
        rgb: the colour.
        alpha: opacity from 1 to 255.
    """
    x1, y1, x2, y2 = box
    image.paste(rgb, box, Image.new("L", (x2 - x1, y2 - y1), alpha))


def paint_mask(image: Image.Image, mask: np.ndarray, rgb: Rgb, alpha: int = DEFAULT_ALPHA) -> None:
    """Blend a colour into the pixels of an image inside a mask, in place.

    Args:
        image: RGB image.
        mask: boolean array (height, width).
        rgb: the colour.
        alpha: opacity from 1 to 255.
    """
    image.paste(rgb, (0, 0, *image.size), Image.fromarray(mask.astype(np.uint8) * np.uint8(alpha)))


def paint_regions(
    image: Image.Image, regions: Sequence[PixelBox | np.ndarray], colors: Sequence[Rgb], alpha: int = DEFAULT_ALPHA
) -> Image.Image:
    """Return a copy of an image with each region painted in its colour; overlapping regions are blended in order.

    Args:
        image: RGB image in its original size.
        regions: boxes of `clip_boxes` or masks of `check_masks`.
        colors: one colour per region.
        alpha: opacity from 1 to 255.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models.prompts import paint_regions
        >>> image = Image.new("RGB", (64, 48), "white")
        >>> painted = paint_regions(image, [(0, 0, 32, 48)], colors=[(240, 0, 30)], alpha=127)
        >>> painted.getpixel((5, 5)), painted.getpixel((60, 5))
        ((248, 128, 143), (255, 255, 255))

        ```
    """
    painted = image.copy()
    for region, rgb in zip(regions, colors, strict=True):
        if isinstance(region, np.ndarray):
            paint_mask(painted, region, rgb, alpha)
        else:
            paint_box(painted, region, rgb, alpha)
    return painted


def search_color_prompts(
    model: WordModel,
    processor: Any,
    names: Sequence[str],
    rgb_step: int = 32,
    template: str = SEARCH_TEMPLATE,
    alpha: int = 255,
    background: Rgb = (128, 128, 128),
    batch_size: int = 64,
) -> list[tuple[str, Rgb, float]]:
    """Return for each colour word the RGB value for which a backbone gives it the highest probability (CPT, §3.3).

    The model fills the blank of a sentence for blocks of one colour. A coarse grid of RGB values is refined around the
    best value of each word, with the step halved each time. Each value is evaluated once.

    Args:
        model: model that predicts words, such as a `CptForVisualGrounding`.
        processor: processor of the model, such as a `CptProcessor`.
        names: candidate words, each a single token of the tokenizer.
        rgb_step: step of the coarse grid in each channel: 32 makes 512 values; 5, as in the released code, makes
            140,608.
        template: sentence with one `[MASK]`.
        alpha: opacity of the colour over the background, from 1 to 255.
        background: RGB value of the background.
        batch_size: number of blocks per forward pass.

    Returns:
        (name, rgb, probability) for each word, the most probable first. Use the first few as a palette.

    Raises:
        ValueError: if `rgb_step` or `alpha` is not from 1 to 255.

    Example:
        ```python
        >>> from hf_prompt_models import CptForVisualGrounding, CptProcessor
        >>> from hf_prompt_models.prompts import search_color_prompts
        >>> model, processor = (each.from_backbone("playground") for each in (CptForVisualGrounding, CptProcessor))
        >>> found = search_color_prompts(model.eval(), processor, ["red", "blue"], rgb_step=255)
        >>> [name for name, rgb, probability in found]
        ['red', 'blue']

        ```
    """
    if not 1 <= rgb_step <= 255:
        raise ValueError(f"Expected rgb_step, the grid distance of colours, from 1 to 255, got {rgb_step}.")
    check_alpha(alpha)
    behind = Image.new("RGB", (BLOCK_SIDE, BLOCK_SIDE), background)
    seen: dict[Rgb, list[float]] = {}

    def show(appearances: Iterable[Rgb]) -> None:
        new = sorted(set(appearances) - set(seen))
        for start in range(0, len(new), batch_size):
            batch = new[start : start + batch_size]
            blocks = [paint_regions(behind, [(0, 0, BLOCK_SIDE, BLOCK_SIDE)], [rgb], alpha) for rgb in batch]
            probabilities = model.word_probabilities(processor, blocks, template, names)
            seen.update(zip(batch, probabilities.tolist(), strict=True))

    def best(word: int) -> Rgb:
        return max(seen, key=lambda rgb: seen[rgb][word])

    grid = range(0, 256, rgb_step)
    show(itertools.product(grid, grid, grid))
    step = rgb_step
    while step >= FINEST_STEP:
        around = {best(word) for word in range(len(names))}
        show(neighbour for rgb in around for neighbour in neighbours(rgb, step))
        step //= 2
    found = [(name, best(word), seen[best(word)][word]) for word, name in enumerate(names)]
    return sorted(found, key=lambda entry: -entry[2])


def neighbours(rgb: Rgb, step: int) -> Iterable[Rgb]:
    """Return the RGB values at most one step away in each channel, within 0 to 255.

    Args:
        rgb: the RGB value.
        step: the step.
    """
    red, green, blue = ((max(part - step, 0), part, min(part + step, 255)) for part in rgb)
    return itertools.product(red, green, blue)
