"""Errors show readable values, and no addresses of objects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hf_prompt_models import (
    ClipZeroShotForImageClassification,
    CoOpForImageClassification,
    CptForVisualGrounding,
    CptProcessor,
    VisualGroundingPipeline,
)
from hf_prompt_models.playground import CLIP_DIR, VILT_DIR
from hf_prompt_models.utils.describing import describe_value


PICTURE = Image.new("RGB", (48, 48))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (3, "3"),
        (None, "None"),
        ([1, 2.5, "b"], "[1, 2.5, 'b']"),
        ("a" * 100, f"'{'a' * 79}…"),
        (PICTURE, "a value of type Image"),
        ([PICTURE, "a"], "a list of Image, str"),
        ({"a": PICTURE}, "a value of type dict"),
        (lambda: 1, "a value of type function"),
    ],
)
def test_a_value_is_shown_as_it_is_or_by_its_type(value: Any, shown: str) -> None:
    assert describe_value(value) == shown


REFUSED: dict[str, Callable[[Any], object]] = {
    "class name": lambda value: CoOpForImageClassification.from_backbone(CLIP_DIR, ["a", value]),
    "backbone": lambda value: CoOpForImageClassification.from_backbone(value, ["a", "b"]),
    "checkpoint": CoOpForImageClassification.from_pretrained,
    "template": lambda value: ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, ["a"], templates=[[value]]),
    "colour": lambda value: CptProcessor.from_backbone(VILT_DIR, colors=[value]),
}


@pytest.mark.parametrize(
    "value", [PICTURE, object(), lambda: 1, [PICTURE]], ids=["image", "object", "function", "list"]
)
@pytest.mark.parametrize("place", REFUSED)
def test_no_error_shows_an_address(place: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        REFUSED[place](value)
    assert " at 0x" not in str(error.value)


@pytest.mark.parametrize("field", ["text", "boxes"])
def test_the_grounding_pipeline_shows_none_either(field: str, tmp_path: Path) -> None:
    model = CptForVisualGrounding.from_backbone(VILT_DIR)
    pipe = VisualGroundingPipeline(model=model, processor=model.processor)
    asked = {"image": PICTURE, "text": "a key", "boxes": [[0, 0, 9, 9]]} | {field: [PICTURE]}
    with pytest.raises((TypeError, ValueError)) as error:
        pipe(asked)
    assert " at 0x" not in str(error.value)
