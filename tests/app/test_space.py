"""Export of demos as Spaces."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForImageClassification

import hf_prompt_models
from hf_prompt_models import CoOpConfig, CoOpForImageClassification
from hf_prompt_models.app import Options, build, export_space
from hf_prompt_models.playground import CLIP_DIR


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its backbone, in a run folder with other files."""
    folder = tmp_path_factory.mktemp("whole")
    CoOpForImageClassification.from_backbone(CLIP_DIR, ["boat", "fish"], n_ctx=2).save_pretrained(
        folder, save_backbone=True
    )
    (folder / "few_shot.json").write_text('{"train_dir": "/home/somebody/photos"}')
    (folder / "predictions.csv").write_text("somebody's file,boat\n")
    (folder / "checkpoint-3").mkdir()
    return folder


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_space_starts_with_its_own_copy_of_the_model(whole: Path, tmp_path: Path) -> None:
    export_space(whole, tmp_path / "space")
    demo = runpy.run_path(str(tmp_path / "space" / "app.py"))["demo"]
    assert demo.title == "Image classification"
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "space" / "model")
    assert model.config.class_names == ["boat", "fish"]
    assert list(tmp_path.iterdir()) == [tmp_path / "space"]


def test_what_a_run_records_of_the_training_data_is_not_exported(whole: Path, tmp_path: Path) -> None:
    export_space(whole, tmp_path / "space")
    exported = files(tmp_path / "space")
    assert {"app.py", "requirements.txt", "README.md", "model/config.json", "model/model.safetensors"} <= exported
    assert not {name for name in exported if "few_shot" in name or "predictions" in name}


def test_the_settings_name_the_sdk_and_the_package_at_its_version(whole: Path, tmp_path: Path) -> None:
    export_space(whole, tmp_path / "space")
    _, front, _ = (tmp_path / "space" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    settings = yaml.safe_load(front)
    assert settings["sdk"] == "gradio"
    assert settings["sdk_version"].startswith("6.")
    assert settings["app_file"] == "app.py"
    requirements = (tmp_path / "space" / "requirements.txt").read_text()
    assert requirements == f"hf_prompt_models[app]=={hf_prompt_models.__version__}\n"


def test_a_prompt_whose_backbone_is_on_the_hub_names_it_and_stays_small(whole: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(CLIP_DIR, ["boat"], n_ctx=2)
    model.config.base_model_name_or_path = "openai/clip-vit-base-patch32"
    model.save_pretrained(tmp_path / "prompt")
    export_space(tmp_path / "prompt", tmp_path / "space")
    assert "models:\n- openai/clip-vit-base-patch32" in (tmp_path / "space" / "README.md").read_text(encoding="utf-8")


def test_a_prompt_whose_backbone_is_a_folder_of_this_machine_is_refused_with_the_fix(tmp_path: Path) -> None:
    shutil.copytree(CLIP_DIR, tmp_path / "mine")
    model = CoOpForImageClassification.from_backbone(tmp_path / "mine", ["boat"], n_ctx=2)
    model.save_pretrained(tmp_path / "prompt")
    with pytest.raises(ValueError, match="save_backbone=True"):
        export_space(tmp_path / "prompt", tmp_path / "space")
    assert not (tmp_path / "space").exists()


def test_a_prompt_for_the_packaged_backbone_needs_no_other_repository(learned_prompt: Path, tmp_path: Path) -> None:
    export_space(learned_prompt, tmp_path / "space")
    assert "models:" not in (tmp_path / "space" / "README.md").read_text(encoding="utf-8")


def test_a_model_on_the_hub_is_named_and_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CoOpConfig(weights_scope="prompt", base_model_name_or_path="openai/clip-vit-base-patch32")
    for module in ("pages", "space"):
        monkeypatch.setattr(f"hf_prompt_models.app.{module}.AutoConfig.from_pretrained", lambda place: config)
    export_space("you/name", tmp_path / "space")
    assert files(tmp_path / "space") == {"app.py", "requirements.txt", "README.md"}
    assert "build('you/name', OPTIONS)" in (tmp_path / "space" / "app.py").read_text()
    assert "models:\n- you/name" in (tmp_path / "space" / "README.md").read_text(encoding="utf-8")


def test_clips_go_with_the_space_and_a_local_proposal_model_is_refused(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "one.mp4").write_bytes(b"clip")
    export_space(whole, tmp_path / "space", Options(clips=tmp_path / "films"))
    assert (tmp_path / "space" / "clips" / "one.mp4").read_bytes() == b"clip"
    assert 'clips=HERE / "clips"' in (tmp_path / "space" / "app.py").read_text()
    with pytest.raises(ValueError, match="Pass a model on the Hub"):
        export_space(whole, tmp_path / "other", Options(proposals=str(whole)))


def test_a_folder_with_other_files_is_left_alone(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"already contains files, such as notes\.txt"):
        export_space(whole, tmp_path)
    assert files(tmp_path) == {"notes.txt"}
    (tmp_path / "notes.txt").rename(tmp_path / "app.py")
    with pytest.raises(FileExistsError, match=r"app\.py"):
        export_space(whole, tmp_path)


def test_an_earlier_export_is_replaced_unless_something_was_added(whole: Path, tmp_path: Path) -> None:
    space = tmp_path / "space"
    export_space(whole, space)
    (space / "README.md").write_text("changed")
    export_space(whole, space)
    assert (space / "README.md").read_text(encoding="utf-8").startswith("---\n")
    (space / ".git").mkdir()
    with pytest.raises(FileExistsError, match=r"\.git"):
        export_space(whole, space)


def test_a_full_disk_leaves_nothing_behind(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hf_prompt_models.app.space.shutil.copyfile", full)
    with pytest.raises(OSError, match=r"Cannot write the Space to .*: No space left on device"):
        export_space(whole, tmp_path / "space")
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ValueError, match="a model of type 'clip', which was not trained by a method of this package"):
        build(tmp_path)
