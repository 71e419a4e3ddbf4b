"""Loading of image files."""

import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data.images.loading import UnreadableImageError, load_image
from tests.programs import run_program


def test_any_mode_becomes_rgb_with_the_same_colours(tmp_path: Path) -> None:
    for mode, colour, expected in [("L", 90, (90,) * 3), ("RGBA", (9, 8, 7, 255), (9, 8, 7)), ("1", 1, (255,) * 3)]:
        Image.new(mode, (4, 3), colour).save(tmp_path / "image.png")
        image = load_image(tmp_path / "image.png")
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (4, 3), expected)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "image.png", transparency=bytes([0, 255]))
    assert load_image(tmp_path / "image.png").getpixel((0, 0)) == (200, 100, 50)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "image.png", exif=exif)
    turned = np.asarray(load_image(tmp_path / "image.png"))
    assert turned.shape == (4, 2, 3)
    assert turned[0, 1, 0] == 255


@pytest.mark.parametrize("shrink", [False, True])
def test_damaged_files_are_refused_by_name(tmp_path: Path, shrink: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for suffix in ("jpg", "png"):
        whole = tmp_path / f"whole.{suffix}"
        Image.fromarray(noise).save(whole)
        load_image(whole, shrink=shrink)
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(UnreadableImageError, match=rf"cut\.{suffix}"):
            load_image(cut, shrink=shrink)
    (tmp_path / "text.jpg").write_text("not an image")
    for name in ("text.jpg", "absent.jpg"):
        with pytest.raises(UnreadableImageError, match=name):
            load_image(tmp_path / name, shrink=shrink)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "bomb.png")
    for limit in (1000, 500):  # Pillow warns above the limit and raises above its double
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UnreadableImageError, match=r"bomb\.png"):
            load_image(tmp_path / "bomb.png")


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **settings: pytest.fail("a program was started"))
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        load_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", pytest.param("P", marks=pytest.mark.slow)])
def test_the_largest_images_take_less_than_a_gibibyte(mode: str, tmp_path: Path) -> None:
    side = math.isqrt((Image.MAX_IMAGE_PIXELS or 0) // 4)  # and a quarter of the memory
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned
    options = {"transparency": 1} if mode == "P" else {}
    Image.new(mode, (side, side)).save(tmp_path / "large.png", exif=exif, compress_level=1, **options)
    script = """
import resource, sys
from pathlib import Path
from hf_prompt_models.data.images.loading import load_image

pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, -1))
print(load_image(sys.argv[1]).size)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "large.png")]
    done = run_program(command)
    assert done.stdout == f"({side}, {side})\n", done.stderr


def test_memory_is_not_set_aside_for_what_a_header_claims(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "claims.png")
    content = bytearray((tmp_path / "claims.png").read_bytes())
    place = content.index(b"IDAT")
    content[place - 4 : place] = (2**31 - 1).to_bytes(4, "big")
    (tmp_path / "claims.png").write_bytes(content)
    tracemalloc.start()
    try:
        assert load_image(tmp_path / "claims.png").size == (5, 4)  # the pixels are all there
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_sixteen_bits_a_pixel_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 4), 127 * 256, np.uint16)).save(tmp_path / "deep.png")
    assert load_image(tmp_path / "deep.png").getpixel((0, 0)) == (127, 127, 127)
