"""Columns that are ignored are reported, and the columns of each format are read."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.text.captioned_videos import read_captioned_videos, read_video_questions
from hf_prompt_models.data.text.captions import read_captions
from hf_prompt_models.data.text.products import read_products
from hf_prompt_models.data.videos.labelled import read_labels


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_captions, {"image": "a.png", "caption": "a key"}),
        (read_products, {"id": 1, "image": "a.png", "title": "a key", "description": "A key."}),
        (read_captioned_videos, {"video": "a.mp4", "caption": "a key"}),
        (read_video_questions, {"video": "a.mp4", "question": "what?", "answer": "a key", "answer_type": "what"}),
    ],
)
def test_columns_that_are_not_read_are_named_once(
    read: Callable[[Path], Any], row: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(row)}\n" * 2)
    with caplog.at_level(logging.WARNING):
        assert len(read(file)) == 2
        assert not caplog.messages
        file.write_text(f"{json.dumps(row)}\n{json.dumps(row | {'price': 3, 'colour': 'red'})}\n")
        assert len(read(file)) == 2
    assert caplog.messages == [f"Ignored columns of {file}: price, colour"]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([0, 1, 2], ["a", "b", "c"]),
        ([2, 0, 1], ["b", "c", "a"]),
        ([1, 2, 3], ["a", "b", "c"]),
        ("xyz", ["a", "b", "c"]),
    ],
)
def test_ids_of_classes_are_their_order(ids: Any, names: list[str], tmp_path: Path) -> None:
    rows = "".join(f"{number},{name}\n" for number, name in zip(ids, "abc", strict=True))
    (tmp_path / "labels.csv").write_text("id,name\n" + rows)
    assert read_labels(tmp_path / "labels.csv") == names


@pytest.mark.parametrize("ids", [[3, 1, 2], [0, 0, 1]])
def test_ids_that_say_no_order_are_refused(ids: list[int], tmp_path: Path) -> None:
    rows = "".join(f"{number},{name}\n" for number, name in zip(ids, "abc", strict=True))
    (tmp_path / "labels.csv").write_text("id,name\n" + rows)
    with pytest.raises(ValueError, match=r"labels\.csv: expected the ids 0, 1, 2, … in any order"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_lists_of_spreadsheets_have_other_delimiters(tmp_path: Path, delimiter: str) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    rows = [("file_name", "label"), ("a.png", "wren, adult"), ("b.png", "finch")]
    (tmp_path / "metadata.csv").write_text("\n".join(map(delimiter.join, rows)))
    found = read_labelled_images(tmp_path)
    assert (found.class_names, list(found.labels)) == (["finch", "wren, adult"], [1, 0])
