"""Image projections are initialised by their classes, even if a checkpoint has none that fits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from tests.modeling_common import TESTED
from tests.tested_method import MethodUnderTest


@pytest.fixture(scope="module", params=["frozen", "mantis"])
def method(request: pytest.FixtureRequest) -> MethodUnderTest:
    return TESTED[request.param]


@pytest.fixture(scope="module")
def folders(method: MethodUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("projections")
    model = method.build(method.write_backbone(place / "backbone"))
    for scope in ("prompt", "full"):
        model.save_pretrained(place / scope, save_backbone=scope == "full")
    return place


def check_new(model: PreTrainedModel) -> None:
    linear = model.image_projection.linear
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.equal(linear.bias, torch.zeros_like(linear.bias))


def test_a_new_projection_is_initialised(method: MethodUnderTest, folders: Path) -> None:
    config = method.auto_class.from_pretrained(folders / "prompt").config
    check_new(method.auto_class.from_config(config))


@pytest.mark.parametrize("scope", ["prompt", "full"])
def test_a_projection_of_another_shape_is_initialised(
    scope: str,
    method: MethodUnderTest,
    folders: Path,
    transformers_records: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = folders / scope / "model.safetensors"
    tensors = load_file(file)
    tensors["image_projection.linear.weight"] = torch.ones(3, 3)
    del tensors["image_projection.linear.bias"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"image_projection\.linear\.weight"):
        method.auto_class.from_pretrained(folders / scope)
    loaded = method.auto_class.from_pretrained(folders / scope, ignore_mismatched_sizes=True)
    check_new(loaded)
    assert any("image_projection.linear.weight" in text for text in [*transformers_records, *caplog.messages])
    transformers_records.clear()
