"""Records: images are decoded lazily, checked before any work, and split by id."""

import logging
import os
from pathlib import Path

import pytest

from hf_prompt_models.data.images.loading import UnreadableImageError
from hf_prompt_models.data.images.stored import image_file
from hf_prompt_models.data.text.products import Product
from hf_prompt_models.data.text.records import Record, Records
from tests.data.lists import red, write_image


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_image(tmp_path / "good.png", red=7)


def product(record_id: str, *paths: Path) -> Product:
    return Product(record_id, tuple(map(image_file, paths)), title="", description=f"about {record_id}")


def test_images_are_decoded_when_they_are_asked_for(good: Path) -> None:
    record = Record("1", (image_file(good), image_file(good.parent / "absent.png")))
    assert red(record.images[0].load()) == 7
    with pytest.raises(UnreadableImageError, match=r"no image file .*absent\.png"):
        record.load_images()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "a\0b.png"):
        with pytest.raises(UnreadableImageError, match="There is no image file"):
            image_file(path).load()


def test_all_images_that_cannot_be_read_are_named_together(good: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    records = Records("list", [product("1", good, tmp_path / "absent.png"), product("2", tmp_path / "text.png")])
    with pytest.raises(UnreadableImageError, match=r"(?s)2 files cannot be read.*absent\.png.*text\.png"):
        records.readable("refuse", progress=False)
    whole = Records("list", [product("1", good), product("2")])
    assert whole.readable("refuse", progress=False) is whole


def test_what_cannot_be_read_is_left_out_if_asked(
    good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absent = tmp_path / "absent.png"
    records = Records("list", [product("1", absent, good), product("2", absent), product("3")])
    with caplog.at_level(logging.WARNING):
        kept = records.readable("skip", progress=False)
    # A product keeps its other images, and a product without images is kept.
    assert [(record.id, [image.name for image in record.images]) for record in kept] == [("1", [str(good)]), ("3", [])]
    assert sum(str(absent) in line for line in caplog.messages) == 1
    assert "Skipped 1 of the 2 images of list, and 1 of its 3 records." in caplog.messages
    with pytest.raises(UnreadableImageError, match="No record of list can be used"):
        records.select([1]).readable("skip", progress=False)


def test_a_record_of_which_every_image_counts_is_left_out_whole(good: Path, tmp_path: Path) -> None:
    record = Record("1", (image_file(good), image_file(tmp_path / "absent.png")))
    assert record.without(frozenset({str(tmp_path / "absent.png")})) is None
    assert record.without(frozenset({"other.png"})) is record


def test_no_product_is_in_two_parts(good: Path) -> None:
    records = Records("list", [product(str(number % 7), good) for number in range(30)])
    parts = records.split({"train": 0.7, "test": 0.3}, seed=1)
    train, test = ({record.id for record in parts[name]} for name in ("train", "test"))
    assert not train & test
    assert len(parts["train"]) + len(parts["test"]) == 30
    assert parts == records.split({"train": 0.7, "test": 0.3}, seed=1)
