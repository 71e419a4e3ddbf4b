"""Sentences about the classes of each test set."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.models import recipe_of
from hf_prompt_models.prompts import waffle_prompts
from hf_prompt_models.tasks.classification.class_prompts import with_class_prompts
from hf_prompt_models.tasks.classification.protocols import ProtocolData
from tests.tasks.classification.test_protocols import data, task


__all__ = ["data"]

SENTENCES = {name: [f"a {name}.", f"the {name}"] for name in ("ant", "bee", "cat", "dog", "elk", "yak", "zebra")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text(json.dumps(SENTENCES))
    return tmp_path / "a.json"


def described(protocol: ProtocolData, source: object, with_templates: bool = False) -> dict[str, Any]:
    return with_class_prompts(protocol, str(source), with_templates, "playground").tests


def of(names: Sequence[str]) -> list[list[str]]:
    return [SENTENCES[name] for name in names]


def test_each_half_has_the_sentences_of_its_classes(data: Path, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    tests = described(task(data, protocol="base-to-new"), file)
    assert tests["base"].class_prompts == of(["ant", "bee", "cat"])
    assert tests["new"].class_prompts == of(["dog", "elk"])
    assert [test.templates for test in tests.values()] == [[], []]
    assert [record.getMessage() for record in caplog.records] == [
        f"Ignored 2 name(s) in {file} that are not classes: 'yak', 'zebra'."
    ]


def test_each_target_has_the_sentences_of_its_classes(
    data: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crossed = task(data, protocol="cross-dataset", target_dirs=[str(data / "other")])
    assert described(crossed, file)["other"].class_prompts == of(["yak", "zebra"])
    assert not caplog.records


def test_a_class_without_sentences_is_refused_or_has_the_templates(data: Path, file: Path) -> None:
    target = {"protocol": "cross-dataset", "target_dirs": [f"eurosat={data / 'euro'}"]}
    with pytest.raises(ValueError, match=r"2 class.* of EuroSAT: 'Annual Crop Land', 'Sea or Lake'"):
        described(task(data, **target), file)
    found = described(task(data, templates=["a {}."], **target), file, with_templates=True)
    assert found["EuroSAT"].class_prompts == [[], []]
    assert found["EuroSAT"].templates == found["source"].templates == ["a {}."]
    file.write_text(json.dumps(SENTENCES | {"Sea_or Lake": ["water"], "Annual Crop Land": ["a field"]}))
    assert described(task(data, **target), file)["EuroSAT"].class_prompts == [["a field"], ["water"]]


def test_random_descriptors_are_those_of_each_test_set(data: Path) -> None:
    tests = described(task(data, protocol="base-to-new"), "waffle")
    assert tests["base"].class_prompts == list(waffle_prompts(["ant", "bee", "cat"]).values())
    assert tests["new"].class_prompts == list(waffle_prompts(["dog", "elk"]).values())


def test_clip_lora_is_made_from_the_sentences_of_the_classes() -> None:
    recipe = recipe_of("clip_lora")
    processor = recipe.build_processor("playground")
    model = recipe.build_model(recipe.arguments_class(), "playground", ["ant"], processor, [], [["the ant"]])
    assert model.config.templates == []
    assert model.config.class_prompts == [["the ant"]]
