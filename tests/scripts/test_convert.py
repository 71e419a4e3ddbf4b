"""convert.py as run by a user."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForVideoClassification

from hf_prompt_models.playground import CLIP_DIR
from tests.models.action_clip.original_action_clip import VOCABULARY, Original, write_backbone
from tests.models.action_clip.original_action_clip import write_original as write_original_video_model
from tests.models.coop.original_coop import write_original


SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = ["cat", "sea_or_lake", "dog"]


def convert(*arguments: object) -> None:
    runpy.run_path(str(SCRIPTS / "convert.py"))["main"]([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        convert(*arguments)
    return str(stop.value.code)


@pytest.fixture
def original(openai_clip: Path, tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A run's folder, with files of the epochs 10 and 50, and the context of the former."""
    contexts = torch.randn(2, 3, 32).half()
    for epoch, context in zip((10, 50), contexts, strict=True):
        write_original(tmp_path / "run", openai_clip, NAMES, context, epoch)
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path / "run", contexts


def test_there_and_back(
    original: tuple[Path, Any], openai_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, contexts = original
    flags = ("--backbone", openai_clip, "--class_names", tmp_path / "names.txt")
    convert(
        "coop", "--checkpoint", run / "prompt_learner" / "model.pth.tar-50", *flags, "--output_dir", tmp_path / "a"
    )
    printed = capsys.readouterr().out
    assert "epoch 50" in printed
    assert "3 x 32, float16" in printed
    assert printed.endswith(f"saved {tmp_path / 'a'}\n")
    convert("coop", "--checkpoint", run, *flags, "--output_dir", tmp_path / "b", "--class_token_position", "front")
    convert("coop", "--checkpoint", run, *flags, "--output_dir", tmp_path / "c", "--epoch", 10)
    models = [AutoModelForImageClassification.from_pretrained(tmp_path / folder) for folder in "abc"]
    for model, context in zip(models, (contexts[1], contexts[1], contexts[0]), strict=True):
        assert torch.equal(model.context, context.float())
        assert model.config.class_names == NAMES
    assert [model.config.class_token_position for model in models] == ["end", "front", "end"]

    capsys.readouterr()
    convert("coop", "--to_original", "--checkpoint", tmp_path / "c", "--output_dir", tmp_path / "back")
    back = tmp_path / "back" / "prompt_learner"
    assert capsys.readouterr().out == f"saved {back / 'model.pth.tar-10'}\n"
    convert("coop", "--to_original", "--checkpoint", tmp_path / "c", "--output_dir", tmp_path / "back", "--epoch", 3)
    assert (back / "checkpoint").read_text() == "model.pth.tar-3\n"
    for epoch in (3, 10):
        loaded = torch.load(back / f"model.pth.tar-{epoch}", weights_only=True)
        assert loaded["epoch"] == epoch
        assert torch.equal(loaded["state_dict"]["ctx"], contexts[0].float())


def test_a_video_classifier_of_the_original_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text('id,name\n0,cat\n1,"the dog, of the cat"\n')
    flags = ("--backbone", write_backbone(tmp_path / "clip"), "--output_dir", tmp_path / "out")
    flags += ("--labels", tmp_path / "labels.csv")
    file = write_original_video_model(tmp_path / "vit-b-32-8f.pt", Original(VOCABULARY, "LSTM"))
    convert("action_clip", "--checkpoint", file, *flags, "--num_frames", 5)
    printed = capsys.readouterr().out
    assert "dropped: 'frame_position_embeddings.weight'" in printed
    assert printed.endswith(f"saved {tmp_path / 'out'}\n")
    model = AutoModelForVideoClassification.from_pretrained(tmp_path / "out")
    assert (model.config.post_network, model.config.num_frames) == ("lstm", 5)
    assert model.config.class_names == ["cat", "the dog, of the cat"]
    assert "error: Expected --num_frames" in refused("action_clip", "--checkpoint", file, *flags, "--num_frames", 0)
    assert "zip format" in refused("action_clip", "--checkpoint", tmp_path / "labels.csv", *flags)


def test_the_playgrounds_clip_goes_by_its_name(tmp_path: Path) -> None:
    hidden = json.loads((Path(CLIP_DIR) / "config.json").read_text())["text_config"]["hidden_size"]
    write_original(tmp_path / "run", Path(CLIP_DIR), NAMES, torch.randn(2, hidden))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    flags = ("--backbone", "playground", "--class_names", tmp_path / "names.txt", "--output_dir", tmp_path / "out")
    convert("coop", "--checkpoint", tmp_path / "run", *flags)
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_mistakes_are_reported_in_one_line(original: tuple[Path, Any], openai_clip: Path, tmp_path: Path) -> None:
    run, _ = original
    flags = ("--backbone", openai_clip, "--class_names", tmp_path / "names.txt", "--output_dir", tmp_path / "out")
    checkpoint = ("--checkpoint", run)
    assert "Pass --backbone and --class_names" in refused("coop", *checkpoint, "--output_dir", tmp_path / "out")
    assert "no model.pth.tar-7" in refused("coop", *checkpoint, *flags, "--epoch", 7)
    assert "at least 1" in refused("coop", *checkpoint, *flags, "--epoch", 0)
    assert "no checkpoint" in refused("coop", "--checkpoint", tmp_path / "missing", *flags)
    assert "zip format" in refused("coop", "--checkpoint", tmp_path / "names.txt", *flags)
    assert "no original format" in refused("clip_zero_shot", *checkpoint, *flags)
    assert refused("unheard_of", *checkpoint, *flags) == "2"
    assert not (tmp_path / "out").exists()


def test_help_lists_the_methods_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused("--help") == "0"
    assert refused("coop", "--help") == "0"
    printed = capsys.readouterr().out
    for flag in ("--checkpoint", "--backbone", "--class_names", "--output_dir", "--to_original", "--epoch"):
        assert flag in printed
