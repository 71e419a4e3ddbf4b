"""Boxes of files and pipelines are checked against their images, in the given format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as PilImage
from transformers import pipeline

from hf_prompt_models import CptForVisualGrounding
from hf_prompt_models.data.grounding.dataset import GroundingDataset
from hf_prompt_models.data.grounding.referring_expressions import read_expression_dataset, read_referring_expressions
from hf_prompt_models.playground import VILT_DIR
from hf_prompt_models.tasks.visual_grounding.evaluation import evaluate_grounding


WIDTH, HEIGHT = 60, 40
BOXES = [[5, 6, 20, 30], [30, 2, 30, 38]]


def write(folder: Path, turn: Callable[[list[float]], list[float]], annotations: bool = True) -> Path:
    """A folder of one image, boxes turned into another form, in one of its files or in both."""
    folder.mkdir()
    PilImage.new("RGB", (WIDTH, HEIGHT), "gray").save(folder / "a.png")
    phrases = [
        {"file_name": "a.png", "caption": "the key", "bbox": turn(BOXES[0]) if annotations else BOXES[0], "id": "p7"}
    ]
    (folder / "annotations.json").write_text(json.dumps(phrases))
    (folder / "proposals.json").write_text(json.dumps({"a.png": [{"box": turn(box)} for box in BOXES]}))
    return folder


def corners(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y + height]


def shares(box: list[float]) -> list[float]:
    return [value / size for value, size in zip(box, [WIDTH, HEIGHT] * 2, strict=True)]


def test_both_forms_mean_the_same(tmp_path: Path) -> None:
    as_sizes = read_referring_expressions(write(tmp_path / "xywh", lambda box: box), "train")
    as_corners = read_referring_expressions(write(tmp_path / "xyxy", corners), "train", box_format="xyxy")
    assert as_sizes.boxes == as_corners.boxes == [(5, 6, 24, 35)]
    assert as_sizes.proposals[0].boxes == as_corners.proposals[0].boxes
    as_corners.check_boxes()
    with pytest.raises(ValueError, match="Expected one of xywh, xyxy as box_format, got 'cxcywh'"):
        read_referring_expressions(tmp_path / "xywh", "train", box_format="cxcywh")
    with pytest.raises(ValueError, match=r"p7|item 0: a box \[x1, y1, x2, y2\] needs .*pass box_format xywh"):
        read_referring_expressions(write(tmp_path / "small", lambda box: [50, 30, 5, 5]), "train", box_format="xyxy")


@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        (corners, r"extends beyond the image of 60 x 40 pixels.*pass box_format xyxy"),
        (shares, r"relative coordinates, but the image has 60 x 40 pixels.* multiply"),
        (lambda box: [box[0] - 8, *box[1:]], "extends beyond the image"),
        (lambda box: [box[0], box[1] + 20, *box[2:]], "extends beyond the image"),
    ],
)
def test_boxes_that_leave_the_image_are_refused_by_image_and_box(
    turn: Callable, reason: str, annotations: bool, tmp_path: Path
) -> None:
    expressions = read_referring_expressions(write(tmp_path / "scenes", turn, annotations), "test")
    what = r"(phrase 'p7'|region \d)"
    with pytest.raises(ValueError, match=rf"a\.png of .*annotations\.json, {what}: the box .*{reason}"):
        expressions.check_boxes()
    with pytest.raises(ValueError, match=reason):
        GroundingDataset(expressions)[0]
    model = tmp_path / "model"
    CptForVisualGrounding.from_backbone(VILT_DIR).save_pretrained(model, save_backbone=True)
    with pytest.raises(ValueError, match=reason):
        evaluate_grounding({"1": model}, str(tmp_path / "scenes"))


def test_boxes_at_the_edge_and_turned_photos_pass(tmp_path: Path) -> None:
    folder = write(tmp_path / "scenes", lambda box: [box[0], box[1], 60 - box[0] + 0.6, 40 - box[1] + 0.6])
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.new("RGB", (HEIGHT, WIDTH)).save(folder / "a.png", exif=exif)  # shown 60 wide, 40 high
    read_referring_expressions(folder, "train").check_boxes()


def test_splits_and_data_sets_in_memory_are_read(tmp_path: Path) -> None:
    write(tmp_path / "Training", lambda box: box)
    assert len(read_referring_expressions(tmp_path, "train")) == 1
    with pytest.raises(ValueError, match=r"has no split 'test'\. Its splits are Training\. Choose .*/Training"):
        read_referring_expressions(tmp_path, "test")
    features = Features({"image": Image(), "bbox": List(Value("float32")), "caption": Value("string")})
    rows = {"image": [PilImage.new("RGB", (60, 40))], "bbox": [corners(BOXES[0])], "caption": ["the key"]}
    expressions = read_expression_dataset(Dataset.from_dict(rows, features=features), "train", "xyxy")
    assert expressions.boxes == [(5, 6, 24, 35)]
    assert expressions.load(0).size == (60, 40)


def test_the_pipeline_takes_either_form_and_refuses_boxes_past_the_edge() -> None:
    model = CptForVisualGrounding.from_backbone(VILT_DIR)
    ground = pipeline("visual-grounding", model=model, processor=model.processor)
    image = PilImage.effect_noise((WIDTH, HEIGHT), 90)
    asked: dict[str, Any] = {"image": image, "text": "the key"}
    expected = ground(asked | {"boxes": [corners(box) for box in BOXES]})
    assert ground(asked | {"boxes": BOXES}, box_format="xywh") == expected
    for box, reason in (
        ([5, 5, 90, 30], "extends beyond the image"),
        ([0.1, 0.1, 0.5, 0.5], "relative coordinates"),
        ([30, 2, 30, 38], ""),
    ):
        with pytest.raises(ValueError, match=f"Box 1: .*{reason}"):
            ground(asked | {"boxes": [corners(BOXES[0]), box]})
    with pytest.raises(ValueError, match="as box_format"):
        ground(asked | {"boxes": BOXES}, box_format="coco")
