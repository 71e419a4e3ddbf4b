"""Opening image files that somebody else made."""

import io
import os
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hf_prompt_models.data.files import UnreadableFileError


IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
READ_AT_ONCE = 64 * 2**20
"""Bytes of a file; larger ones would be in memory twice."""


@cache
def readable_formats() -> list[str]:
    """What Pillow may take a file for, whatever its name. Not EPS, which is a program that Ghostscript would run."""
    Image.init()  # else Pillow does not know yet which of these it has been built with
    return sorted({"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"} & set(Image.OPEN))


class UnreadableImageError(UnreadableFileError):
    """An image file that cannot be decoded; the message names it."""


def load_image(source: str | os.PathLike | bytes, name: str | None = None, shrink: bool = False) -> Image.Image:
    """Decode an image to RGB, turned as its EXIF orientation says.

    Args:
        source: a file, or the bytes of one.
        name: what to call it in an error. Default: the file's path.
        shrink: decode a JPEG at an eighth of its size, to check quickly that it can be read to its end.

    Raises:
        UnreadableImageError: if it is missing, damaged, not an image, or larger than Pillow's limit against
            decompression bombs (about 89 million pixels).
    """
    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(_opened(source), formats=readable_formats()) as image:
                if shrink:
                    image.draft("RGB", (1, 1))
                image.load()
                if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
                # In place: of the largest that is read a copy takes 340 MiB.
                ImageOps.exif_transpose(image, in_place=True)
                # By way of RGBA where a palette has transparency: Pillow warns when it is lost at once.
                with_alpha = image.convert("RGBA") if "transparency" in image.info else image
                return with_alpha.convert("RGB")
    except (
        OSError,
        SyntaxError,  # Pillow's for a broken PNG
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise UnreadableImageError(f"Cannot read the image {name}: {error}") from error


def _opened(source: str | os.PathLike | bytes) -> io.BytesIO | Path:
    """For Pillow, which sets memory aside for as much as a header claims that a file on the disk holds."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    # Devices and the kernel's own files say that they have no size, and may never end.
    return io.BytesIO(path.read_bytes()) if 0 < path.stat().st_size <= READ_AT_ONCE else path
