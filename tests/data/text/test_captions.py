"""Captions from lists, COCO files and datasets."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from hf_prompt_models.data.text.captions import Caption, read_captions
from tests.data.lists import red, write_image, write_json, write_json_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        write_image(tmp_path / "images" / f"{number}.png", red=number)
    return tmp_path


def summary(caption: Caption) -> tuple[list[int], str]:
    return [red(image) for image in caption.load_images()], caption.caption


ROWS: list[dict[str, Any]] = [
    {"image": "1.png", "caption": "one "},
    {"image": "2.png", "caption": "two"},
    {"image": "1.png", "caption": "first"},
]
EXPECTED = [([1], "one"), ([2], "two"), ([1], "first")]
COCO: dict[str, Any] = {
    "images": [{"id": 91, "file_name": "1.png"}, {"id": 5, "file_name": "2.png"}],
    "annotations": [
        {"id": 0, "image_id": 91, "caption": "one"},
        {"id": 1, "image_id": 5, "caption": "two"},
        {"id": 2, "image_id": 91, "caption": "first"},
    ],
}


def test_lines_a_list_and_cocos_file_give_the_same(folder: Path) -> None:
    files = [
        write_json_lines(folder / "captions.jsonl", ROWS),
        write_json(folder / "captions.json", ROWS),
        write_json(folder / "captions_val2014.json", COCO),
    ]
    for file in files:
        captions = read_captions(file, image_directory=folder / "images")
        assert [summary(caption) for caption in captions] == EXPECTED
        # Captions of one image stay together when records are split.
        assert captions[0].id == captions[2].id != captions[1].id
    beside = write_json_lines(folder / "images" / "captions.jsonl", ROWS)
    assert summary(read_captions(beside)[1]) == ([2], "two")


def test_a_data_set_is_read_by_its_columns(folder: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    columns = {"image": [str(folder / "images" / f"{number}.png") for number in (1, 2)], "caption": ["one", "two"]}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.save_to_disk(folder / "saved")
    assert [summary(caption) for caption in read_captions(folder / "saved")] == EXPECTED[:2]
    data.rename_column("caption", "text").save_to_disk(folder / "other")
    with pytest.raises(
        ValueError, match=r"needs the columns 'image' and 'caption'. Its columns are \['image', 'text'\]"
    ):
        read_captions(folder / "other")
    datasets.Dataset.from_dict(columns | {"image": [None, None]}, features=features).save_to_disk(folder / "none")
    with pytest.raises(ValueError, match=r"none:train\[0\]: expected one image per caption, got 0"):
        read_captions(folder / "none")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "1.png"}, "'caption' must be a non-empty string"),
        ({"image": 1, "caption": "c"}, "'image' must be a non-empty string"),
    ],
)
def test_a_damaged_line_or_entry_is_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"c\.jsonl, line 2: {message}"):
        read_captions(write_json_lines(tmp_path / "c.jsonl", [ROWS[0], row]))
    with pytest.raises(ValueError, match=rf"c\.json, entry 1: {message}"):
        read_captions(write_json(tmp_path / "c.json", [ROWS[0], row]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "contains no captions"),
        ([7], "entry 0: expected an object"),
        ({"images": []}, "is neither a list of captioned images nor a COCO caption file"),
        (COCO | {"images": [{"id": "91", "file_name": "1.png"}]}, "entry 0 of 'images': expected an object with 'id'"),
        (COCO | {"images": [{"id": 91, "file_name": "../1.png"}]}, "entry 0 of 'images': .* not a path within"),
        (COCO | {"images": COCO["images"][:1]}, "entry 1 of 'annotations': there is no image with the id 5"),
        (COCO | {"annotations": [{"image_id": 5, "caption": ""}]}, "entry 0 of 'annotations': 'caption' must be"),
        (COCO | {"annotations": [[5, "two"]]}, "entry 0 of 'annotations': expected an object with 'image_id'"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"c\.json.*{message}"):
        read_captions(write_json(tmp_path / "c.json", value))
