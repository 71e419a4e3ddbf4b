"""Marks other than colour that direct a CLIP to a region: a red circle, a crop, or blurred or grey surroundings.

For zero-shot inference they work better than colour with such backbones (Shtedritski et al., arXiv 2304.06712;
Subramanian et al., arXiv 2204.05991; Yang et al., arXiv 2306.04356).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from hf_prompt_models.prompts.colors import PixelBox, mask_boxes


Mark = Literal["circle", "crop", "blur", "grey"]
MARKS: tuple[Mark, ...] = ("circle", "crop", "blur", "grey")

CIRCLE_COLOR = (255, 0, 0)
CIRCLE_WIDTH = 0.01
"""Line width as a fraction of the longer side of the image; at least 2 pixels."""
BLUR_SIGMA = 100
"""Standard deviation of the blur in pixels, as in ReCLIP and FGVP."""


def region_markers(
    image: Image.Image, regions: Sequence[PixelBox | np.ndarray], mark: Mark
) -> list[Callable[[], Image.Image]]:
    """Return for each region a function that makes a copy of the image in which the region is marked.

    Copies are made when they are needed, because those of all regions of a large image may need gigabytes.

    Args:
        image: RGB image.
        regions: boxes of `clip_boxes` or masks of `check_masks`.
        mark: `"circle"` draws an ellipse that fills the box of the region, and `"crop"` crops the box. `"blur"` and
            `"grey"` blur or desaturate the surroundings and do not change the region.

    Raises:
        ValueError: if the mark is unknown.
    """
    boxes = [mask_boxes([region])[0] if isinstance(region, np.ndarray) else region for region in regions]
    if mark == "crop":
        return [partial(image.crop, box) for box in boxes]
    if mark == "circle":
        return [partial(circled, image, box) for box in boxes]
    if mark == "blur":
        outside = image.filter(ImageFilter.GaussianBlur(BLUR_SIGMA))
    elif mark == "grey":
        outside = image.convert("L").convert("RGB")
    else:
        raise ValueError(f"There is no mark {mark!r}. Choose one of {', '.join(MARKS)}.")
    return [partial(with_region_of, image, outside, region) for region in regions]


def circled(image: Image.Image, box: PixelBox) -> Image.Image:
    """Return a copy of the image with a red ellipse that fills the box."""
    x1, y1, x2, y2 = box
    drawn = image.copy()
    width = max(2, round(CIRCLE_WIDTH * max(image.size)))
    ImageDraw.Draw(drawn).ellipse((x1, y1, x2 - 1, y2 - 1), outline=CIRCLE_COLOR, width=width)
    return drawn


def with_region_of(inside: Image.Image, outside: Image.Image, region: PixelBox | np.ndarray) -> Image.Image:
    """Return an image that combines one image inside a region with another one outside of it.

    Args:
        inside: image to show inside the region.
        outside: image of the same size to show outside of the region.
        region: box of `clip_boxes` or mask of `check_masks`.
    """
    combined = outside.copy()
    if isinstance(region, np.ndarray):
        combined.paste(inside, (0, 0), Image.fromarray(region.astype(np.uint8) * np.uint8(255)))
    else:
        combined.paste(inside.crop(region), region[:2])
    return combined
