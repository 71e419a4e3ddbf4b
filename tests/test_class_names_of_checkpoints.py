"""Class names that differ from those of a checkpoint are tokenized or refused, never only displayed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
    PreTrainedModel,
    pipeline,
)

from hf_prompt_models import (
    ActionClipForVideoClassification,
    AlproForVideoQuestionAnswering,
    ClipZeroShotForImageClassification,
    CoOpForImageClassification,
)
from hf_prompt_models.playground import ALPRO_DIR
from tests.tested_method import random_image


AUTO_CLASSES = {
    CoOpForImageClassification: AutoModelForImageClassification,
    ClipZeroShotForImageClassification: AutoModelForImageClassification,
    ActionClipForVideoClassification: AutoModelForVideoClassification,
}
NEW = ["bird", "horse", "big dog"]


def names(classes: list[str]) -> dict[str, dict]:
    return {"id2label": dict(enumerate(classes)), "label2id": {name: index for index, name in enumerate(classes)}}


@pytest.fixture(scope="module", params=AUTO_CLASSES)
def saved(request: pytest.FixtureRequest, openai_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    request.param.from_backbone(openai_clip, ["cat", "dog"]).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model_class(saved: Path) -> type[PreTrainedModel]:
    kind = AutoConfig.from_pretrained(saved).architectures[0]
    return next(each for each in AUTO_CLASSES if each.__name__ == kind)


@torch.no_grad()
def test_classes_are_tokenised_however_they_are_given(
    saved: Path, model_class: type[PreTrainedModel], transformers_records: list[str], tmp_path: Path
) -> None:
    expected = model_class.from_pretrained(saved)
    expected.set_classes(NEW)
    ways: list[tuple[type, dict[str, Any]]] = [
        (model_class, names(NEW)),
        (model_class, {"id2label": dict(enumerate(NEW))}),
        (model_class, {"id2label": {str(index): name for index, name in enumerate(NEW)}}),  # as JSON has it
        (AUTO_CLASSES[model_class], {"num_labels": 3, **names(NEW)}),
        (AUTO_CLASSES[model_class], {"config": AutoConfig.from_pretrained(saved, **names(NEW))}),
    ]
    for number, (loading_class, given) in enumerate(ways):
        model = loading_class.from_pretrained(saved, **given)
        assert model.config.class_names == NEW
        assert torch.equal(model.get_text_features().pooler_output, expected.get_text_features().pooler_output)
        model.save_pretrained(tmp_path / str(number))
        again = model_class.from_pretrained(tmp_path / str(number))
        assert again.config.class_names == NEW
        assert again.prompt_token_ids() == expected.prompt_token_ids()
    transformers_records.clear()  # that the saved configuration has another number of classes


def test_contradicting_or_missing_names_are_refused(
    saved: Path, model_class: type[PreTrainedModel], transformers_records: list[str]
) -> None:
    with pytest.raises(ValueError, match="label2id"):
        model_class.from_pretrained(saved, id2label=dict(enumerate(NEW)), label2id={"fish": 0, "fox": 1, "cow": 2})
    with pytest.raises(ValueError, match="id2label"):
        model_class.from_pretrained(saved, num_labels=5)
    with pytest.raises(ValueError, match="without gaps"):
        model_class.from_pretrained(saved, id2label={0: "a", 2: "b"})
    transformers_records.clear()  # that the saved configuration has another number of classes


def test_a_renamed_configuration_is_not_saved(saved: Path, model_class: type[PreTrainedModel], tmp_path: Path) -> None:
    model = model_class.from_pretrained(saved)
    model.config.id2label = {0: "fox", 1: "cow"}
    with pytest.raises(ValueError, match="set_classes"):
        model.save_pretrained(tmp_path)
    model.set_classes(["fox", "cow"])
    model.save_pretrained(tmp_path)


def test_class_specific_context_keeps_its_classes(openai_clip: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(openai_clip, ["cat", "dog"], class_specific_context=True)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="class-specific context"):
        CoOpForImageClassification.from_pretrained(tmp_path, **names(["fox", "cow"]))


def test_the_pipeline_reports_the_new_classes(openai_clip: Path, tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone(openai_clip, ["cat", "dog"]).save_pretrained(tmp_path)
    pipe = pipeline("image-classification", model=str(tmp_path), model_kwargs=names(NEW))
    assert {answer["label"] for answer in pipe(random_image())} == set(NEW)


@pytest.mark.parametrize("answers", [["red", "blue"], ["up", "down", "left", "right"]])
def test_a_checkpoint_of_pre_training_gets_the_answers_of_its_new_head(
    answers: list[str], tmp_path: Path, transformers_records: list[str]
) -> None:
    model = AlproForVideoQuestionAnswering.from_pretrained(ALPRO_DIR, **names(answers))
    assert any("classifier" in record for record in transformers_records)
    transformers_records.clear()
    assert list(model.config.id2label.values()) == answers
    assert model.classifier[-1].out_features == len(answers)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Cannot change the class names of"):
        AlproForVideoQuestionAnswering.from_pretrained(tmp_path, **names([*reversed(answers)]))
