"""Image loading: files, bytes, URLs, PIL images and arrays are all converted to the same RGB pixels.

- Integer pixels of more than 8 bits are read as 16-bit values, of which the upper 8 bits are kept.
- Floating-point pixels are read as fractions of white if none is above 1, as 8-bit values if none is above 255, and
  as 16-bit values otherwise.
- Transparent pixels are blended with white.
- Only the first frame of an animation is read.
- The EXIF orientation is applied.
"""

import binascii
import io
import os
import re
import threading
import warnings
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from hf_prompt_models.data.images.fetching import fetch, is_link
from hf_prompt_models.utils.files import UnreadableFileError


IMAGE_SUFFIXES = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx"}
    | {".pbm", ".pgm", ".pjpeg", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Common suffixes of the readable formats. Files with other suffixes are images if their content shows it."""
READ_AT_ONCE = 64 * 2**20
"""Largest size in bytes of a file that is read into memory at once. Larger files would use twice their size."""
WHITE = (255, 255, 255)
"""Default colour behind transparent pixels."""

ImageSource = Any
"""A path, a `file://`, `http(s)://` or `data:` URL, base64 text, bytes, an open file, a PIL image, array or tensor."""


@cache
def readable_formats() -> list[str]:
    """Return the formats that Pillow may detect in a file. EPS is excluded, because Ghostscript would execute it."""
    Image.init()  # Pillow lists the formats that it was built with only after this call
    return sorted({"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"} & set(Image.OPEN))


class UnreadableImageError(UnreadableFileError):
    """Error for an image that cannot be decoded. The message names the image."""


def load_image(
    source: ImageSource,
    name: str | None = None,
    shrink: bool = False,
    background: tuple[int, int, int] = WHITE,
    least_side: int | None = None,
) -> Image.Image:
    """Decode an image to RGB and apply its EXIF orientation.

    Args:
        source: a file (path or `file://` URL), a URL (`http://`, `https://`), a `data:` URL, base64 text, the bytes
            of a file, an open binary file, a PIL image, or an array or tensor of shape (height, width), (height,
            width, channels) or (channels, height, width) with 1 to 4 channels.
        name: name of the image in error messages. Default: the path of the file, or the kind of source.
        shrink: whether to decode a JPEG at an eighth of its size, to check quickly that it is readable to its end.
        background: RGB colour behind transparent pixels.
        least_side: decode a JPEG at a half, a quarter or an eighth of its size, as long as both sides keep this number
            of pixels. Default: at its size.

    Returns:
        An RGB image with 8 bits per channel. Transparent pixels are blended with the background. Of deeper pixels the
        upper 8 bits are kept (see the module docstring for the rules).

    Raises:
        UnreadableImageError: if the image is missing, damaged, not an image, or larger than Pillow's limit against
            decompression bombs (about 89 million pixels).
    """
    name = name or _name_of(source)
    with _errors_that_name(name, source):
        if isinstance(source, np.ndarray | torch.Tensor):
            return to_rgb(_from_array(source), background)
        if isinstance(source, Image.Image):
            return to_rgb(ImageOps.exif_transpose(source), background)
        with _open(source) as image:
            if shrink:
                image.draft("RGB", (1, 1))
            elif least_side is not None:
                image.draft("RGB", (least_side, least_side))
            image.load()
            # In place, because a copy of the largest readable image takes 340 MiB.
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image, background)


def load_images(sources: Any, arrays: bool = True) -> Any:
    """Decode an image, or all images of a nested list, as `load_image` does.

    Args:
        sources: an image or a (nested) list of images. An array or tensor of four or more dimensions is a list along
            its first dimension.
        arrays: whether to convert arrays and tensors too; otherwise they are returned unchanged.
    """
    if isinstance(sources, np.ndarray | torch.Tensor):
        if not arrays:
            return sources
        return [load_images(each) for each in sources] if sources.ndim > 3 else load_image(sources)
    if isinstance(sources, list | tuple):
        return [load_images(each, arrays) for each in sources]
    return load_image(sources)


def image_size(source: ImageSource, name: str | None = None) -> tuple[int, int]:
    """Return the width and height of an image after its EXIF orientation is applied.

    Images in files are not decoded; only their headers are read.

    Args:
        source: the image, as for `load_image`.
        name: name of the image in error messages, as for `load_image`.

    Raises:
        UnreadableImageError: as for `load_image`, if the header of the image cannot be read.
    """
    name = name or _name_of(source)
    if isinstance(source, np.ndarray | torch.Tensor | Image.Image):
        return load_image(source, name).size
    with _errors_that_name(name, source), _open(source) as image:
        is_turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
        return (image.height, image.width) if is_turned else image.size


def is_image_file(path: str | os.PathLike) -> bool:
    """Return whether a file is an image by its suffix or, for other suffixes, by its content."""
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=readable_formats()):
                return True
    except Image.DecompressionBombError:
        return True  # it is an image; `load_image` raises an error that names it
    except (OSError, SyntaxError, ValueError, EOFError):
        return False


def to_rgb(image: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Convert an image of any mode to RGB, as `load_image` does.

    Raises:
        ValueError: if pixels are negative, not finite, or of more than 16 bits.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        clear = image.info.get("transparency")
        gray = np.asarray(image)
        pixels = _to_bytes(gray, is_deep=image.mode != "F")
        if isinstance(clear, int):
            pixels = np.where(gray == clear, np.uint8(255), pixels)
        return Image.fromarray(pixels).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    rgb = rgba.convert("RGB")
    del rgba  # each copy of the largest images takes hundreds of MiB
    if alpha.getextrema() == (255, 255):
        return rgb
    canvas = Image.new("RGB", rgb.size, background)
    canvas.paste(rgb, mask=alpha)
    return canvas


_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def _to_bytes(pixels: np.ndarray, is_deep: bool = False) -> np.ndarray:
    """Convert pixels to 8-bit values.

    Args:
        pixels: array of any numeric or boolean type.
        is_deep: whether to read integers as 16-bit values, whatever their range.

    Raises:
        ValueError: if pixels are negative, not finite, or of more than 16 bits.
    """
    if pixels.dtype == np.uint8 or pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * (255 if pixels.dtype == np.bool_ else 1)
    if pixels.dtype.kind not in "iuf":
        raise ValueError(f"its pixels have dtype {pixels.dtype}; expected numbers or booleans")
    if not pixels.size or not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() >= 2**16:
        found = f"from {pixels.min()} to {pixels.max()}" if pixels.size else "none"
        raise ValueError(f"its pixels are {found}; scale them to 0 … 255 (or 0 … 65535, or fractions 0 … 1)")
    most = pixels.max()
    if pixels.dtype.kind == "f":
        scaled = np.rint(pixels * 255) if most <= 1 else np.rint(pixels) if most <= 255 else pixels / 256
        return scaled.astype(np.uint8)
    is_deep = is_deep or most > 255 or pixels.dtype.name == "uint16"
    return (pixels >> 8 if is_deep else pixels).astype(np.uint8)


def _from_array(array: np.ndarray | torch.Tensor) -> Image.Image:
    """Convert an array of shape (height, width), (height, width, channels) or (channels, height, width) to an image.

    Raises:
        ValueError: if the array has another shape.
    """
    is_tensor = isinstance(array, torch.Tensor)
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = (array.float() if array.dtype in (torch.bfloat16, torch.float16) else array).numpy()
    if array.ndim == 3:
        sizes = {axis: array.shape[axis] for axis in ((0, 2) if is_tensor else (2, 0))}  # torch has channels first
        channels = next((axis for axis, size in sizes.items() if size == 3), None)
        if channels is None:
            channels = next((axis for axis, size in sizes.items() if size in (1, 2, 4)), None)
        if channels is not None:
            array = np.moveaxis(array, channels, 2)
            array = array[:, :, 0] if array.shape[2] == 1 else array
    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (2,), (3,), (4,)):
        raise ValueError(
            f"its shape {tuple(array.shape)} is none of (height, width), (height, width, channels) and "
            "(channels, height, width) with 1 to 4 channels"
        )
    return Image.fromarray(np.ascontiguousarray(_to_bytes(array)))


def _name_of(source: ImageSource) -> str:
    if isinstance(source, str | os.PathLike):
        text = str(source)
        return text if len(text) <= 300 else f"{text[:60]}…"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or "passed as a PIL image"
    if isinstance(source, bytes | bytearray | memoryview):
        return "passed as bytes"
    if isinstance(source, np.ndarray | torch.Tensor):
        return f"passed as an array {tuple(source.shape)}"
    return str(getattr(source, "name", "")) or f"passed as {type(source).__name__}"


class _BombsRefused:
    """Raises Pillow's warning about decompression bombs as an error, while any thread is in this context.

    `warnings.catch_warnings` alone is not safe in threads: the first to leave would restore the filters for all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            self._readers += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._filters.__exit__(None, None, None)


_BOMBS_REFUSED = _BombsRefused()


@contextmanager
def _errors_that_name(name: str, source: ImageSource) -> Iterator[None]:
    try:
        with _BOMBS_REFUSED:
            yield
    except UnreadableFileError as error:
        raise UnreadableImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"Cannot read the image {name}: {_what_instead(source)}.") from error
    except (
        OSError,
        SyntaxError,  # raised by Pillow for a broken PNG
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UnreadableImageError(f"Cannot read the image {name}: {reason}") from error


def _open(source: ImageSource) -> Image.Image:
    """Open a source with Pillow without decoding it."""
    return Image.open(_opened(source), formats=readable_formats())


def _opened(source: ImageSource) -> BinaryIO | Path:
    """Return a file for Pillow, in memory if it is small.

    For a file on disk, Pillow allocates as much memory as the header of the file claims.
    """
    if isinstance(source, str):
        source = _of_text(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, os.PathLike):
        path = Path(source)
        # Devices and kernel files report a size of 0 and may never end.
        return io.BytesIO(path.read_bytes()) if 0 < path.stat().st_size <= READ_AT_ONCE else path
    if callable(getattr(source, "read", None)):
        content = source.read()
        if isinstance(content, bytes):
            return io.BytesIO(content)
        raise ValueError("the file is open as text; open it with mode 'rb'")
    raise TypeError(
        "Expected a path, a link, bytes, base64 text, an open file, a PIL image, an array or a tensor, got "
        f"{type(source).__name__}. Pass the image in one of these forms."
    )


def _of_text(text: str) -> bytes | Path:
    """Return the bytes or the path of a file that a string refers to."""
    if is_link(text):
        return fetch(text)
    if text.startswith("data:"):
        header, comma, data = text.partition(",")
        if not comma:
            raise ValueError("a data URL needs a comma between its type and its data")
        return _base64(data) if header.endswith(";base64") else unquote_to_bytes(data)
    if text.startswith("file://"):
        return Path(unquote(urlsplit(text).path))
    if len(text) >= SHORTEST_BASE64 and not _is_file(text):
        with suppress(ValueError):
            return _base64(text)
    return Path(text)


SHORTEST_BASE64 = 64
"""Length in characters from which a string may be base64. The smallest images are longer, and few paths are."""


def _base64(text: str) -> bytes:
    """Decode base64 in its standard or URL-safe alphabet, with or without line breaks.

    Raises:
        ValueError: if the text is not base64.
    """
    compact = re.sub(r"\s", "", unquote(text)).translate(str.maketrans("-_", "+/"))
    try:
        return b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not valid base64: {error}") from error


def _is_file(text: str) -> bool:
    try:
        return os.path.exists(text)
    except ValueError:  # the text holds a null character
        return False


_SIGNATURES = {
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML or SVG file",
    b"%pdf": "a PDF",
    b"%!ps": "a PostScript file",
    b"8bps": "a Photoshop file",
    b"pk\x03\x04": "a ZIP archive",
    b"version https://git-lfs": "a Git LFS pointer: download the file with git lfs pull",
}


def _what_instead(source: ImageSource) -> str:
    """Return a phrase for an error message on what a source is if Pillow does not recognise its format."""
    try:
        opened = _opened(source)
        with opened.open("rb") if isinstance(opened, Path) else opened as file:
            head = file.read(512).lstrip().lower()
    except (OSError, ValueError):
        head = b""
    formats = ", ".join(readable_formats())
    if not head:
        return f"it is empty, not an image ({formats})"
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "it is an HTML page; download the image itself instead of the page that shows it"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heif", b"mif1", b"msf1", b"hevc"):
        return "it is a HEIC image, which is not supported; save it as JPEG or PNG"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return f"it is {kind}, not an image of a supported format ({formats})"
    return f"it is not an image of a supported format ({formats}), or it is damaged"
