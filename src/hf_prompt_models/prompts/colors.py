"""Colourful prompts: regions of a picture painted in colours that a text can name (CPT, arXiv 2109.11797, §3.1)."""

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
"""A colour's word and how it is painted."""
PixelBox = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, as PIL has them: the right column and the bottom row are outside."""

SEARCHED_COLORS: tuple[Color, ...] = (
    ("red", (240, 0, 30)),
    ("purple", (155, 50, 210)),
    ("yellow", (255, 255, 25)),
    ("blue", (0, 10, 255)),
    ("green", (0, 255, 0)),
    ("pink", (255, 170, 230)),
)
"""What the paper's cross-modal search found; the first five as in the released code (thunlp/CPT)."""

FREQUENCY_COLORS: tuple[Color, ...] = (
    ("red", (255, 0, 0)),
    ("black", (0, 0, 0)),
    ("blue", (0, 0, 255)),
    ("green", (0, 255, 0)),
    ("yellow", (255, 255, 0)),
    ("brown", (165, 42, 42)),
)
"""The paper's baseline: the most frequent colour words, each in its standard colour."""

DEFAULT_ALPHA = 127
"""Of 255, the released code's: the picture shows through."""


SEARCH_TEMPLATE = "a photo in [MASK] color."
BLOCK_SIDE = 128
"""Pixels: the released code's blocks of one colour."""
FINEST_STEP = 5
"""The released code's grid; a refinement that is finer than this tells nothing."""


class WordModel(Protocol):
    """What the search for colours needs of a model, as the models of CPT have it."""

    def word_probabilities(
        self, processor: Any, images: Sequence[Image.Image], sentence: str, words: Sequence[str]
    ) -> torch.Tensor: ...


def check_colors(colors: Sequence[Any]) -> list[Color]:
    """A palette as a list of (name, (red, green, blue)), in the order given.

    Raises:
        ValueError: for an empty palette, a name given twice, or a colour that is not three whole numbers up to 255.
    """
    checked: list[Color] = []
    for entry in colors:
        try:
            name, rgb = entry
            red, green, blue = rgb
        except (TypeError, ValueError):
            raise ValueError(f"A colour is a pair like ('red', (240, 0, 30)); got {describe_value(entry)}.") from None
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"A colour's name is a word; got {describe_value(name)}.")
        checked.append((name.strip(), check_rgb((red, green, blue), name)))
    if not checked:
        raise ValueError("A palette needs at least one colour, a pair like ('red', (240, 0, 30)).")
    names = [name for name, _ in checked]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"A palette has each colour once; {', '.join(sorted(twice))} stands in it more often.")
    return checked


def check_rgb(rgb: Sequence[Any], name: str) -> Rgb:
    """Three whole numbers from 0 to 255; `name` is for the error."""
    if not all(isinstance(part, int | float | np.integer) and 0 <= part <= 255 and part == int(part) for part in rgb):
        raise ValueError(f"The colour {name!r} is three whole numbers from 0 to 255; got {tuple(rgb)}.")
    red, green, blue = map(int, rgb)
    return red, green, blue


def check_alpha(alpha: int) -> int:
    """How much of 255 a colour covers: 0 would paint nothing."""
    if not 1 <= alpha <= 255 or alpha != int(alpha):
        raise ValueError(f"alpha is a whole number from 1 (hardly there) to 255 (nothing shows through); got {alpha}.")
    return int(alpha)


def clip_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[PixelBox]:
    """Boxes in whole pixels of a picture: corners cut to whole numbers by `int()`, then clipped to the picture.

    Args:
        boxes: x1, y1, x2, y2 in pixels.
        size: the picture's width and height.

    Raises:
        ValueError: naming the index of a box that is not four finite numbers or has nothing inside the picture.
    """
    width, height = size
    clipped = []
    for index, box in enumerate(boxes):
        try:
            corners = [float(corner) for corner in box]
        except (TypeError, ValueError):
            raise ValueError(f"Box {index} is not four numbers x1, y1, x2, y2: {describe_value(box)}.") from None
        if len(corners) != 4 or not all(map(math.isfinite, corners)):
            raise ValueError(f"Box {index} is not four numbers x1, y1, x2, y2: {corners}.")
        x1, y1, x2, y2 = map(int, corners)
        x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
        if x1 >= x2 or y1 >= y2:
            raise ValueError(
                f"Box {index} is empty: of {corners} (x1, y1, x2, y2 in pixels) nothing lies inside the picture, "
                f"which is {width} x {height}. Leave it out."
            )
        clipped.append((x1, y1, x2, y2))
    return clipped


def check_masks(masks: Sequence[Any], size: tuple[int, int]) -> list[np.ndarray]:
    """Masks as boolean arrays (height, width).

    Args:
        masks: PIL images or arrays of two dimensions; what is not 0 is inside.
        size: the picture's width and height.

    Raises:
        ValueError: naming the index of a mask that is of another size than the picture, or empty.
    """
    width, height = size
    checked = []
    for index, mask in enumerate(masks):
        inside = np.asarray(mask) != 0
        if inside.shape != (height, width):
            raise ValueError(
                f"Mask {index} has the shape {inside.shape}; the picture is {height} high and {width} wide, and its "
                f"masks have the shape {(height, width)}."
            )
        if not inside.any():
            raise ValueError(f"Mask {index} is empty: no pixel is inside. Leave it out.")
        checked.append(inside)
    return checked


def mask_boxes(masks: Sequence[np.ndarray]) -> list[PixelBox]:
    """The smallest box around each mask."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
    return boxes


def paint_box(image: Image.Image, box: PixelBox, rgb: Rgb, alpha: int = DEFAULT_ALPHA) -> None:
    """Blend a colour into a box of an RGB picture, in place: round((alpha * colour + (255 - alpha) * pixel) / 255)."""
    x1, y1, x2, y2 = box
    image.paste(rgb, box, Image.new("L", (x2 - x1, y2 - y1), alpha))


def paint_mask(image: Image.Image, mask: np.ndarray, rgb: Rgb, alpha: int = DEFAULT_ALPHA) -> None:
    """Blend a colour into the pixels of an RGB picture that are inside a mask (height, width), in place."""
    image.paste(rgb, (0, 0, *image.size), Image.fromarray(mask.astype(np.uint8) * np.uint8(alpha)))


def paint_regions(
    image: Image.Image, regions: Sequence[PixelBox | np.ndarray], colors: Sequence[Rgb], alpha: int = DEFAULT_ALPHA
) -> Image.Image:
    """A copy of a picture with each region in its colour; where regions overlap, they blend in order.

    Args:
        image: in its original size, RGB.
        regions: boxes of `clip_boxes` or masks of `check_masks`.
        colors: one a region.
        alpha: of 255.
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
    """For each colour word the appearance to which a backbone gives it the highest probability (CPT, §3.3).

    Blocks of one colour are shown with a sentence whose blank the backbone fills in. A coarse grid of appearances is
    refined around the best of each word, in steps of half the size; each appearance goes through the backbone once.

    Args:
        model, processor: of one backbone, like a `CptForVisualGrounding` and its `CptProcessor`.
        names: candidate words, each one piece for the tokenizer.
        rgb_step: of the coarse grid in each channel: 32 makes 512 appearances, the released code's 5 makes 140,608.
        template: a sentence with one `[MASK]`.
        alpha: of 255, how much the colour covers of the background.
        background: behind a colour that does not cover all.
        batch_size: appearances that go through the backbone at once.

    Returns:
        (name, rgb, probability), the most probable first: a palette is made of the first few.
    """
    if not 1 <= rgb_step <= 255:
        raise ValueError(f"rgb_step is the distance of appearances on the grid, from 1 to 255; got {rgb_step}.")
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
    """The appearances one step away in any channels, within 0 to 255."""
    red, green, blue = ((max(part - step, 0), part, min(part + step, 255)) for part in rgb)
    return itertools.product(red, green, blue)
