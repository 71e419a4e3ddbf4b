"""A model that cannot be loaded is reported at once, with what to pass instead."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_prompt_cli.main import main
from hf_prompt_models import (
    ActionClipForVideoClassification,
    AlproForVideoTextRetrieval,
    CoOpForImageClassification,
    CoOpProcessor,
    CptForVisualGrounding,
    CptProcessor,
    FrozenForConditionalGeneration,
    FrozenProcessor,
    MantisForConditionalGeneration,
)
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.playground import CLIP_DIR, draw_example
from hf_prompt_models.tasks.classification import run as classification
from hf_prompt_models.tasks.text_generation import run as text_generation
from hf_prompt_models.tasks.video_text import run as video_text
from hf_prompt_models.tasks.visual_grounding import run as visual_grounding


LOADERS: dict[str, Callable[[str], object]] = {
    "coop": lambda name: CoOpForImageClassification.from_backbone(name, ["a", "b"]),
    "coop processor": CoOpProcessor.from_backbone,
    "coop checkpoint": CoOpForImageClassification.from_pretrained,
    "action_clip": lambda name: ActionClipForVideoClassification.from_backbone(name, ["a", "b"]),
    "cpt": CptForVisualGrounding.from_backbone,
    "cpt processor": CptProcessor.from_backbone,
    "frozen": FrozenForConditionalGeneration.from_backbone,
    "frozen vision": lambda name: FrozenForConditionalGeneration.from_backbone("playground", vision_model=name),
    "frozen processor": lambda name: FrozenProcessor.from_backbone("playground", name),
    "mantis": MantisForConditionalGeneration.from_backbone,
    "alpro": AlproForVideoTextRetrieval.from_backbone,
    "alpro towers": lambda name: AlproForVideoTextRetrieval.from_towers(name, "nobody/bert"),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_offline_mode_is_named(loader: str) -> None:
    with pytest.raises(OSError, match=r"'nobody/model'.*offline mode \(HF_HUB_OFFLINE\).*Pass a local folder"):
        LOADERS[loader]("nobody/model")


@pytest.mark.parametrize("name", ["/nowhere/clip", "./clip", "runs/mine/seed-1", "~/clip"])
def test_what_can_only_be_a_folder_is_not_sought_on_the_hub(name: str) -> None:
    with pytest.raises(OSError, match=f"There is no folder '{name}'"):
        check_reachable(name)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(OSError, match="is a file"):
        check_reachable(tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("method", "module", "reader"),
    [
        ("coop", classification, "read_protocol"),
        ("action_clip", classification, "read_protocol"),
        ("cpt", visual_grounding, "read_referring_expressions"),
        ("mantis", text_generation, "read_generation_data"),
        ("frozen", text_generation, "read_generation_data"),
        ("alpro", video_text, "read_sets"),
    ],
)
def test_training_looks_for_the_backbone_before_it_reads_data(
    method: str, module: object, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, reader, lambda *_, **__: pytest.fail("data were read"))
    kinds = {"coop": "dir", "action_clip": "dir", "cpt": "dir", "alpro": "file"}
    data = [f"--train_{kinds.get(method, 'file')}", "x", f"--test_{kinds.get(method, 'file')}", "x"]
    task = ["--task", "retrieval"] if method == "alpro" else []
    flag = "--language_model" if module is text_generation else "--backbone"
    with pytest.raises(SystemExit, match=r"error: There is no folder 'nobody/model'.*HF_HUB_OFFLINE"):
        main(["train", method, flag, "nobody/model", *data, *task, "--output_dir", str(tmp_path / "run")])


@pytest.mark.slow
def test_commands_call_the_backbone_by_its_flag(tmp_path: Path) -> None:
    clip, model, photo = tmp_path / "clip", tmp_path / "model", tmp_path / "a.png"
    shutil.copytree(CLIP_DIR, clip)
    draw_example("key", "test", seed=0, index=0).save(photo)
    CoOpForImageClassification.from_backbone(clip, ["key", "cup"]).save_pretrained(model)
    clip.rename(tmp_path / "moved")
    for argv in (
        ["predict", str(model), str(photo)],
        ["evaluate", str(model), "--test_dir", str(tmp_path / "none")],
        ["export", str(model), "--output", "m.onnx"],
        ["interpret", str(model)],
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert "--backbone" in str(stop.value.code)
        assert "base_model_name_or_path" not in str(stop.value.code)
    assert main(["interpret", str(model), "--backbone", str(tmp_path / "moved")]) == 0
    config = json.loads((model / "config.json").read_text())
    assert config["base_model_name_or_path"] == str(clip)
