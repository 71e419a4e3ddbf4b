"""The name "playground" in Python: every class, saving, loading and publishing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from hf_prompt_models.backbones.packaged import CLIP_DIR, LM_DIR, VILT_DIR, portable_name
from hf_prompt_models.hub.model_card import make_card
from hf_prompt_models.models.action_clip import ActionClipForVideoClassification, ActionClipProcessor
from hf_prompt_models.models.alpro import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproProcessor,
)
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification, ClipZeroShotProcessor
from hf_prompt_models.models.coop import CoOpForImageClassification, CoOpProcessor
from hf_prompt_models.models.cpt import CptForRegionClassification, CptForVisualGrounding, CptProcessor
from hf_prompt_models.models.frozen import FrozenForConditionalGeneration, FrozenProcessor
from hf_prompt_models.models.mantis import MantisForConditionalGeneration, MantisProcessor


NAMES = ["boat", "fish"]
BUILDERS: dict[str, Callable[[], Any]] = {
    "coop": lambda: CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2),
    "zero-shot": lambda: ClipZeroShotForImageClassification.from_backbone("playground", NAMES),
    "action_clip": lambda: ActionClipForVideoClassification.from_backbone("playground", NAMES, trainable="head"),
    "grounding": lambda: CptForVisualGrounding.from_backbone("playground"),
    "regions": lambda: CptForRegionClassification.from_backbone("playground", ["red", "blue"]),
    "mantis": lambda: MantisForConditionalGeneration.from_backbone("playground", freeze_text=True),
    "frozen": lambda: FrozenForConditionalGeneration.from_backbone("playground", vision_model="playground"),
}


@pytest.fixture(autouse=True)
def folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name means the packaged backbone, also where the working directory has a folder of that name."""
    (tmp_path / "playground").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("method", BUILDERS)
def test_checkpoint_names_the_packaged_backbone_not_its_folder(method: str, tmp_path: Path) -> None:
    model: PreTrainedModel = BUILDERS[method]()
    model.save_pretrained(tmp_path / "saved")
    text = (tmp_path / "saved" / "config.json").read_text()
    config = json.loads(text)
    assert (config["base_model_name_or_path"], config["weights_scope"]) == ("playground", "prompt")
    assert CLIP_DIR not in text
    loaded = type(model).from_pretrained(tmp_path / "saved")
    expected, found = model.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    loaded.check_push()  # every installation of the package has the backbone
    card = make_card(loaded.describe_checkpoint())
    assert card.data.base_model is None  # it is not a repository on the Hub
    assert "the backbone ships with `hf_prompt_models`" in card.text


def test_a_prompt_for_the_packaged_backbone_is_published_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded = {}

    def upload(folder: Path, repo_id: str, **commit: Any) -> None:
        uploaded.update(json.loads((folder / "config.json").read_text()))

    monkeypatch.setattr("hf_prompt_models.modeling_utils.create_repository", lambda repo_id, *rest: repo_id)
    monkeypatch.setattr("hf_prompt_models.modeling_utils.published_card", lambda *rest: None)
    monkeypatch.setattr("hf_prompt_models.modeling_utils.upload_checkpoint", upload)
    BUILDERS["coop"]().push_to_hub("user/prompt")
    assert (uploaded["base_model_name_or_path"], uploaded["weights_scope"]) == ("playground", "prompt")
    assert uploaded.get("base_model_revision") is None


@pytest.mark.parametrize("processor", [CoOpProcessor, ClipZeroShotProcessor, ActionClipProcessor, CptProcessor])
def test_processors_load_the_packaged_backbone(processor: Any) -> None:
    place = VILT_DIR if processor is CptProcessor else CLIP_DIR
    expected = processor.from_backbone(place)
    assert processor.from_backbone("playground").tokenizer.get_vocab() == expected.tokenizer.get_vocab()


@pytest.mark.parametrize("processor", [MantisProcessor, FrozenProcessor])
def test_processors_of_language_models_load_both_packaged_parts(processor: Any) -> None:
    found, expected = processor.from_backbone("playground"), processor.from_backbone(LM_DIR, CLIP_DIR)
    assert found.tokenizer.get_vocab() == expected.tokenizer.get_vocab()
    assert found.image_processor.to_dict() == expected.image_processor.to_dict()


@pytest.mark.parametrize(
    "model_class", [AlproForPreTraining, AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering, AlproModel]
)
def test_alpro_starts_from_the_packaged_model(model_class: Any) -> None:
    towers = AlproForPreTraining.from_pretrained("playground").alpro.video_model.state_dict()
    model = model_class.from_backbone("playground")
    own = model.video_model if model_class is AlproModel else model.alpro.video_model
    assert all(torch.equal(towers[name], tensor) for name, tensor in own.state_dict().items())
    assert isinstance(model.processor, AlproProcessor)
    assert AlproProcessor.from_pretrained("playground").num_frames == model.config.num_frames


def test_alpro_takes_other_answers_and_frames() -> None:
    model = AlproForVideoQuestionAnswering.from_backbone("playground", num_frames=2, answers=["yes", "no"])
    assert model.config.class_names == ["yes", "no"]
    assert model.config.num_frames == model.processor.num_frames == 2


def test_earlier_checkpoint_with_the_path_of_the_package_loads_and_becomes_portable(tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2).save_pretrained(tmp_path / "saved")
    file = tmp_path / "saved" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": CLIP_DIR}))
    loaded = CoOpForImageClassification.from_pretrained(tmp_path / "saved")
    assert loaded.config.base_model_name_or_path == "playground"


def test_another_packaged_model_than_the_one_trained_on_is_refused(tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2).save_pretrained(tmp_path / "saved")
    file = tmp_path / "saved" / "config.json"
    config = json.loads(file.read_text())
    first = next(iter(config["base_model_fingerprint"].values()))
    first["values"] = " ".join(str(float(value) + 1) for value in first["values"].split())
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="base_model_name_or_path"):
        CoOpForImageClassification.from_pretrained(tmp_path / "saved")


def test_folder_named_playground_is_reached_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "playground").rmdir()
    shutil.copytree(CLIP_DIR, tmp_path / "playground")
    model = CoOpForImageClassification.from_backbone("./playground", NAMES, n_ctx=2)
    assert model.config.base_model_name_or_path == str(tmp_path / "playground")
    with pytest.raises(ValueError, match="is a local folder"):
        model.check_push()


def test_portable_name_of_other_places(tmp_path: Path) -> None:
    assert portable_name("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    assert portable_name(tmp_path) == str(tmp_path)
    assert portable_name(f"{CLIP_DIR}/../clip") == "playground"
