"""Images of every mode, from every kind of source, give the same pixels."""

import base64
import functools
import io
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from transformers import pipeline

from hf_prompt_models import (
    ClipZeroShotForImageClassification,
    CptForVisualGrounding,
    FrozenForConditionalGeneration,
)
from hf_prompt_models.data.images.loading import UnreadableImageError, image_size, is_image_file, load_image
from hf_prompt_models.data.streaming import ImageCollator
from hf_prompt_models.playground import CLIP_DIR, LM_DIR, VILT_DIR


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def content(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


DTYPES: dict[str, tuple[Any, Any]] = {
    "1": (np.bool_, st.booleans()),
    "L": (np.uint8, st.integers(0, 255)),
    "I;16": (np.uint16, st.integers(0, 65535)),
    "I": (np.int32, st.integers(256, 65535)),
    "F": (np.float32, st.floats(0, 1, width=32)),
    "LA": (np.uint8, st.integers(0, 255)),
    "RGB": (np.uint8, st.integers(0, 255)),
    "RGBA": (np.uint8, st.integers(0, 255)),
}
CHANNELS = {"LA": (2,), "RGB": (3,), "RGBA": (4,)}


@given(data=st.data())
@pytest.mark.parametrize("mode", DTYPES)
def test_every_way_of_opening_an_image_gives_the_same_pixels(
    mode: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dtype, elements = DTYPES[mode]
    array = data.draw(arrays.arrays(dtype, (6, 5, *CHANNELS.get(mode, ())), elements=elements))
    image = Image.fromarray(array)
    assert image.mode == mode
    stored = content(image, "TIFF")
    file = tmp_path_factory.mktemp("images") / "image.tif"
    file.write_bytes(stored)
    text = base64.b64encode(stored).decode()
    expected = pixels(load_image(file))
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0) if array.ndim == 3 else array))
    sources = [str(file), f"file://{file}", stored, bytearray(stored), text, f"data:image/tiff;base64,{text}"]
    for source in [*sources, io.BytesIO(stored), Image.open(file), image, array, tensor]:
        np.testing.assert_array_equal(pixels(load_image(source)), expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 2), 0x7F80, np.uint16), 127),
        (np.full((2, 2), 200, np.uint16), 0),  # 16 bits, however dark
        (np.full((2, 2), 200, np.int64), 200),
        (np.full((2, 2), 40000, np.int64), 156),
        (np.full((2, 2), 0.5), 128),
        (np.full((2, 2), 180.0, np.float32), 180),
        (np.full((2, 2), 32768.0, np.float32), 128),
        (np.ones((2, 2), bool), 255),
        (np.full((3, 6, 5), 9, np.uint8), 9),
        (np.full((6, 5, 1), 9, np.uint8), 9),
    ],
)
def test_numbers_of_any_type_keep_their_brightness(array: np.ndarray, expected: int) -> None:
    for source in (array, torch.from_numpy(array.astype(np.int32) if array.dtype == np.uint16 else array)):
        if array.dtype != np.uint16 or isinstance(source, np.ndarray):
            assert load_image(source).getpixel((1, 1)) == (expected,) * 3


@pytest.mark.parametrize(
    "array",
    [np.full((2, 2), np.nan), np.full((2, 2), -1), np.full((2, 2), 1e6), np.zeros((5, 6, 5)), np.zeros((0, 3))],
)
def test_arrays_that_are_no_image_are_refused_with_the_reason(array: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError, match=r"passed as an array .*(pixels|shape)"):
        load_image(array)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGBa"])
def test_transparent_pixels_are_seen_on_white(mode: str, tmp_path: Path) -> None:
    black = np.zeros((2, 4, 4), np.uint8)
    black[:, :2, 3] = 255
    image = Image.fromarray(black)
    if mode == "L":
        image = Image.fromarray(np.where(black[..., 3], 0, 77).astype(np.uint8))
        image.info["transparency"] = 77
    elif mode == "P":
        image = Image.fromarray((black[..., 3] // 255).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.info["transparency"] = 0
    else:
        image = image.convert(mode)
    read = pixels(load_image(image))
    assert (read[:, :2] == 0).all()
    assert (read[:, 2:] == 255).all()
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert load_image(half).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pil_images_are_turned_as_their_files_are(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    array = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "photo.png", exif=exif)
    expected = pixels(load_image(tmp_path / "photo.png"))
    opened = Image.open(tmp_path / "photo.png")
    np.testing.assert_array_equal(pixels(load_image(opened)), expected)
    assert opened.getexif()[0x0112] == orientation  # the caller's image is as it was
    assert image_size(tmp_path / "photo.png") == image_size(opened) == expected.shape[1::-1]


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(file_format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    stored = content(frames[0], file_format, save_all=True, append_images=frames[1:], lossless=True)
    assert load_image(stored).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"\n<html lang='en'>", "HTML page"),
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"<svg xmlns='x'>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"hello", "not an image"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(stored: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(stored)
    for source in (tmp_path / "page.jpg", str(tmp_path / "page.jpg")):
        with pytest.raises(UnreadableImageError, match=rf"page\.jpg: .*{reason}") as caught:
            load_image(source)
        assert " at 0x" not in str(caught.value)


def test_values_of_other_types_and_texts_are_refused(tmp_path: Path) -> None:
    for value in (None, 3, {"bytes": b""}):
        with pytest.raises(TypeError, match="Expected a path"):
            load_image(value)
    (tmp_path / "a.png").write_bytes(content(Image.new("L", (2, 2)), "PNG"))
    with open(tmp_path / "a.png", encoding="latin-1") as file, pytest.raises(UnreadableImageError, match="mode 'rb'"):
        load_image(file)
    with pytest.raises(UnreadableImageError, match=r"absent\.png"):
        load_image("absent.png")
    with pytest.raises(UnreadableImageError, match="comma"):
        load_image("data:image/png;base64")


@pytest.mark.parametrize(
    ("name", "file_format"), [("a.jfif", "JPEG"), ("b", "PNG"), ("c.HEIC", "AVIF"), ("d.dat", "JPEG2000")]
)
def test_images_are_known_by_suffix_or_content(name: str, file_format: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content(Image.new("RGB", (16, 16)), file_format))
    assert is_image_file(tmp_path / name)
    (tmp_path / "notes.txt").write_text("Python and P5 and BM")
    assert not is_image_file(tmp_path / "notes.txt")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


def test_links_are_followed_and_their_errors_name_them(server: str, tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "photo.png")
    assert load_image(f"{server}/photo.png").getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(UnreadableImageError, match=rf"Cannot download {server}/absent\.png: .*404"):
        load_image(f"{server}/absent.png")
    with pytest.raises(UnreadableImageError, match=r"Cannot download http://127.0.0.1:1/"):
        load_image("http://127.0.0.1:1/photo.png")


@pytest.fixture(scope="module")
def hard_images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A turned photo, a 16-bit scan, and an icon on nothing."""
    folder = tmp_path_factory.mktemp("hard")
    noise = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = Image.fromarray(noise.integers(0, 255, (40, 90, 3), np.uint8))
    turned.save(folder / "turned.png", exif=exif)
    Image.fromarray(noise.integers(0, 65535, (60, 60), np.uint16)).save(folder / "scan.png")
    icon = noise.integers(0, 255, (50, 50, 4), np.uint8)
    Image.fromarray(icon).save(folder / "icon.png")
    return sorted(folder.iterdir())


def ways(file: Path) -> list[Any]:
    return [str(file), Image.open(file), file.read_bytes(), base64.b64encode(file.read_bytes()).decode(), file]


def all_equal(prepare: Callable[[Any], torch.Tensor], file: Path) -> bool:
    expected = prepare(load_image(file))
    return all(torch.equal(prepare(way), expected) for way in ways(file))


def test_every_processor_opens_images_in_the_same_way(hard_images: list[Path]) -> None:
    zero_shot = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, ["a cup", "a key"]).processor
    frozen = FrozenForConditionalGeneration.from_backbone(LM_DIR, vision_model=CLIP_DIR).processor
    ground = CptForVisualGrounding.from_backbone(VILT_DIR).processor
    collate = ImageCollator(zero_shot.image_processor)
    for file in hard_images:
        assert all_equal(lambda image: zero_shot(images=image, return_tensors="pt")["pixel_values"], file)
        assert all_equal(lambda image: frozen(images=[[image]], text=["x"], return_tensors="pt").pixel_values, file)
        assert all_equal(
            lambda image: ground(images=image, text="a key", boxes=[[2, 2, 30, 30]])["pixel_values"], file
        )
        assert all_equal(lambda image: collate([{"image": image, "label": 0}])["pixel_values"], file)


def test_pipelines_open_images_in_the_same_way(hard_images: list[Path]) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, ["a cup", "a key"])
    classify = pipeline("image-classification", model=model, image_processor=model.processor.image_processor)
    for file in hard_images:
        expected = classify(load_image(file))
        assert all(classify(way) == expected for way in [*ways(file), np.asarray(load_image(file))])
