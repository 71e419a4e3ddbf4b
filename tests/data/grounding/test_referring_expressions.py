"""Phrases and regions are read from the released file formats, and sampled as in the released code."""

import json
import random
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data.grounding.referring_expressions import (
    draw_expressions,
    read_annotations,
    read_referring_expressions,
    read_sampled_expressions,
    write_sampled_expressions,
)
from hf_prompt_models.data.grounding.region_proposals import coco_image_id, read_proposals


ITEMS = [
    {"id": 7, "file_name": "COCO_train2014_000000000042.jpg", "caption": "the cat.", "bbox": [2, 3, 4, 5]},
    {"id": 9, "file_name": "other.jpg", "caption": "left dog", "bbox": [0.5, 0, 10, 6], "width": 20, "height": 12},
]
PROPOSALS: dict[str, Any] = {
    "42": [{"box": [2, 3, 4, 5]}, {"box": [9, 0, 3, 3]}],
    "other.jpg": [{"box": [1, 1, 2, 2]}],
}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, annotations and proposals."""
    for place, item in enumerate(ITEMS):
        Image.new("RGB", (20, 12), (place * 100, 0, 0)).save(tmp_path / str(item["file_name"]))
    written(tmp_path / "annotations.json", ITEMS)
    written(tmp_path / "proposals.json", PROPOSALS)
    return tmp_path


@pytest.mark.parametrize("image", [{}, [], None, 1.5])
def test_an_image_id_of_another_type_is_refused_by_name(image: Any, tmp_path: Path) -> None:
    images = [{"id": image, "file_name": "a.jpg", "caption": "a"}]
    annotations = [{"image_id": 1, "bbox": [0, 0, 1, 1]}]
    file = written(tmp_path / "mdetr.json", {"images": images, "annotations": annotations})
    with pytest.raises(ValueError, match=r"mdetr\.json, item 0"):
        read_annotations(file)


def test_a_folder_gives_all_by_itself(folder: Path) -> None:
    expressions = read_referring_expressions(folder, "train")
    assert list(expressions.names) == ["7", "9"]
    assert list(expressions.texts) == ["the cat.", "left dog"]
    assert expressions.boxes == [(2, 3, 5, 7), (0.5, 0, 9.5, 5)]
    assert [regions.boxes for regions in expressions.proposals] == [[(2, 3, 5, 7), (9, 0, 11, 2)], [(1, 1, 2, 2)]]
    assert expressions.load(1).getpixel((0, 0))[0] == pytest.approx(100, abs=3)
    one = expressions.select([1])
    assert (one.names, one.texts, len(one.proposals)) == (["9"], ["left dog"], 1)
    assert one.load(0).getpixel((0, 0))[0] == pytest.approx(100, abs=3)


def test_a_folder_may_have_a_folder_for_each_split(folder: Path) -> None:
    assert len(read_referring_expressions(folder.parent, folder.name)) == 2


def test_files_may_be_apart_from_the_images(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    apart = tmp_path_factory.mktemp("apart")
    source = written(apart / "finetune_refcoco_val.json", ITEMS)
    proposals = written(apart / "dets.json", PROPOSALS)
    expressions = read_referring_expressions(source, "val", images=folder, proposals=proposals)
    assert expressions.load(0).size == (20, 12)


def test_mdetrs_form_joins_images_and_annotations(tmp_path: Path) -> None:
    content = {
        "images": [{"file_name": item["file_name"], "caption": item["caption"], "id": item["id"]} for item in ITEMS],
        "annotations": [{"image_id": item["id"], "bbox": item["bbox"]} for item in reversed(ITEMS)],
    }
    from_mdetr = read_annotations(written(tmp_path / "mdetr.json", content))
    from_cpt = read_annotations(written(tmp_path / "cpt.json", ITEMS))
    assert (from_mdetr.names, from_mdetr.texts) == (from_cpt.names, from_cpt.texts)
    assert from_mdetr.boxes == from_cpt.boxes
    content["annotations"].pop()
    with pytest.raises(ValueError, match=r"mdetr.json, item 0: a box is four numbers"):
        read_annotations(written(tmp_path / "mdetr.json", content))
    content["annotations"] *= 2
    with pytest.raises(ValueError, match="one annotation with image_id and bbox for each"):
        read_annotations(written(tmp_path / "mdetr.json", content))


def test_a_saved_data_set_gives_each_of_a_rows_phrases(tmp_path: Path) -> None:
    rows = {
        "image": [Image.new("RGB", (20, 12), color) for color in ("red", "blue")],
        "answer": [["a cat", "cat"], ["dog"]],
        "bbox": [[2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 10.0, 6.0]],
        "file_name": ["COCO_train2014_000000000042_16.jpg", "other.jpg"],
    }
    data = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    datasets.DatasetDict({"val": data}).save_to_disk(tmp_path / "saved")
    proposals = written(tmp_path / "dets.json", PROPOSALS)
    expressions = read_referring_expressions(tmp_path / "saved", "val", proposals=proposals)
    assert expressions.names == ["val[0].0", "val[0].1", "val[1].0"]
    assert expressions.texts == ["a cat", "cat", "dog"]
    assert expressions.boxes == [(2, 3, 5, 7), (2, 3, 5, 7), (0, 0, 9, 5)]
    assert [len(regions) for regions in expressions.proposals] == [2, 2, 1]
    assert [expressions.load(place).getpixel((0, 0)) for place in range(3)] == [(255, 0, 0)] * 2 + [(0, 0, 255)]
    with pytest.raises(ValueError, match=r"no split 'test'. Its splits are val"):
        read_referring_expressions(tmp_path / "saved", "test")
    data.remove_columns("bbox").save_to_disk(tmp_path / "boxless")
    with pytest.raises(ValueError, match="needs one image column, bbox"):
        read_referring_expressions(tmp_path / "boxless", "test")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("COCO_train2014_000000581857.jpg", ["581857"]), ("a/b_12.png", ["12"]), ("x.jpg", []), ("7.jpg", ["7"])],
)
def test_images_are_known_by_cocos_id(name: str, expected: list[str]) -> None:
    assert coco_image_id(name) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, 0, 3]}, r"item 1: a box .* needs a positive width and height"),
        ({"bbox": [1, 2, 3]}, "item 1: a box is four numbers"),
        ({"bbox": [1, 2, 3, float("inf")]}, "item 1: a box is four numbers"),
        ({"caption": " "}, "item 1: expected file_name, caption and bbox"),
        ({"id": 7}, "two phrases with the id '7'"),
    ],
)
def test_wrong_annotations_are_refused_by_place(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_annotations(written(tmp_path / "a.json", [ITEMS[0], {**ITEMS[1], **change}]))


def test_what_is_missing_is_named(folder: Path) -> None:
    written(folder / "proposals.json", {"42": PROPOSALS["42"], "other": []})
    with pytest.raises(ValueError, match=r"has no regions for 1 image\(s\) of .*: other.jpg"):
        read_referring_expressions(folder, "train")
    (folder / "proposals.json").unlink()
    with pytest.raises(ValueError, match="Pass a JSON file of proposals"):
        read_referring_expressions(folder, "train")
    with pytest.raises(ValueError, match="There is no file or folder"):
        read_referring_expressions(folder / "nowhere", "train")
    (folder / "broken.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"broken.json cannot be read as JSON"):
        read_annotations(folder / "broken.json")


# -- proposals -------------------------------------------------------------------------------------------------------


def test_masks_come_as_run_lengths_or_polygons_and_give_boxes_where_none_are_reported(tmp_path: Path) -> None:
    rle = {"size": [4, 6], "counts": [5, 2, 2, 2, 13]}  # rows 1 and 2 of columns 1 and 2
    square = [[1, 1, 3, 1, 3, 2, 1, 2]]
    content = {"a": [{"rle": rle}, {"polygons": square}, {"box": [0, 0, 2, 2], "rle": rle}]}
    regions = read_proposals(written(tmp_path / "segs.json", content))["a"]
    assert regions.boxes == [(1, 1, 2, 2), (1, 1, 3, 2), (0, 0, 1, 1)]
    masks = regions.read_masks((6, 4), "a.jpg")
    expected = np.zeros((3, 4, 6), bool)
    expected[0, 1:3, 1:3] = expected[1, 1:3, 1:4] = expected[2, 1:3, 1:3] = True
    assert (np.array(masks) == expected).all()
    with pytest.raises(
        ValueError, match=r"Region 0 of a.jpg: .* height 4 and width 6, but the image has height 6 and width 4"
    ):
        regions.read_masks((4, 6), "a.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a file of region proposals"),
        ({"a": {}}, "'a' are not a list"),
        ({"a": [{"box": [0, 0, 1]}]}, "image 'a', region 0: a box is four numbers"),
        ({"a": [{}]}, "neither a box nor an rle nor polygons"),
        ({"a": [1]}, "expected an object"),
        ({"a": [{"box": [0, 0, 1, 1]}], "b": [{"polygons": [[0, 0, 1, 0, 1, 1]]}]}, "'b', region 0: .* mask or none"),
        ({"a": [{"rle": {"size": [2, 2], "counts": [4]}}]}, "the mask is empty"),
        ({"a": [{"rle": {"size": [2, 2], "counts": [5]}}]}, "cover 5 pixels"),
    ],
)
def test_wrong_proposals_are_refused_by_image_and_region(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_proposals(written(tmp_path / "p.json", content))


# -- draws -----------------------------------------------------------------------------------------------------------


def test_draws_are_those_of_shuffling_the_items_themselves() -> None:
    for seed in range(5):
        items = [f"item {index}" for index in range(50)]
        random.seed(seed)
        random.shuffle(items)
        drawn = draw_expressions(50, 16, seed)
        assert [f"item {index}" for index in drawn] == items[:16]
        assert draw_expressions(50, 4, seed) == drawn[:4]
    with pytest.raises(ValueError, match=r"between 1 and 50 expressions .* got shots=51"):
        draw_expressions(50, 51, 0)


def test_a_written_sample_of_expressions_is_read_again(folder: Path) -> None:
    expressions = read_referring_expressions(folder, "train")
    write_sampled_expressions(folder / "drawn.json", expressions, [1], 1, 3)
    assert read_sampled_expressions(folder / "drawn.json", expressions) == [1]
    with pytest.raises(ValueError, match=r"lacks 1 phrase\(s\)"):
        read_sampled_expressions(folder / "drawn.json", expressions.select([0]))
    with pytest.raises(ValueError, match="not a sample of expressions"):
        read_sampled_expressions(folder / "proposals.json", expressions)
