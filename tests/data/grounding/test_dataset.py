"""Sampled regions are the correct ones and as many others, sampled again in each epoch."""

import json
from pathlib import Path

import pytest
from PIL import Image

from hf_prompt_models.data.grounding.dataset import GroundingDataset, paintable
from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions, read_referring_expressions


@pytest.fixture
def expressions(tmp_path: Path) -> ReferringExpressions:
    """The first phrase means one or, nearly, two of ten regions, the second none."""
    Image.new("RGB", (200, 50)).save(tmp_path / "a.png")
    items = [
        {"id": n, "file_name": "a.png", "caption": "x", "bbox": box}
        for n, box in enumerate([[0, 0, 10, 10], [0, 0, 200, 50]])
    ]
    boxes = [[20 * n, 0, 10, 10] for n in range(9)] + [[1, 0, 10, 10]]
    (tmp_path / "annotations.json").write_text(json.dumps(items))
    (tmp_path / "proposals.json").write_text(json.dumps({"a.png": [{"box": box} for box in boxes]}))
    return read_referring_expressions(tmp_path, "train")


def test_all_regions_come_in_their_order(expressions: ReferringExpressions) -> None:
    dataset = GroundingDataset(expressions)
    assert dataset.regions(0) == list(range(10))
    example = dataset[1]
    assert (example["text"], example["target_boxes"], len(example["boxes"])) == ("x", (0, 0, 199, 49), 10)
    assert "masks" not in example


def test_right_regions_have_as_many_others(expressions: ReferringExpressions) -> None:
    dataset = GroundingDataset(expressions, sample_regions=True, seed=5)
    seen = set()
    for epoch in range(30):
        dataset.set_epoch(epoch)
        first, second, *others = dataset.regions(0)
        assert (first, second) == (0, 9)
        assert len(set(others)) == 2
        assert not {0, 9} & set(others)
        assert dataset.regions(0)[2:] == others
        assert len(dataset[0]["boxes"]) == 4
        seen |= set(others)
        assert len(set(dataset.regions(1))) == 2
    assert seen == set(range(1, 9))
    assert GroundingDataset(expressions, True, seed=6).regions(0) != GroundingDataset(expressions, True, 5).regions(0)


@pytest.mark.parametrize(
    ("box", "expected"),
    [((3, 4, 3, 9), (3, 4, 4, 9)), ((3.2, 4, 3.9, 4.5), (3.2, 4, 4, 5)), ((1, 2, 5, 6), (1, 2, 5, 6))],
)
def test_boxes_a_pixel_wide_can_be_painted(box: tuple, expected: tuple) -> None:
    assert paintable(box) == expected
