"""Models of other packages are refused by every command, with what they are and what to pass instead."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import ResNetConfig, ResNetForImageClassification

from hf_prompt_cli.main import main
from hf_prompt_models import (
    AlproForVideoTextRetrieval,
    ClipZeroShotForImageClassification,
    CoOpForImageClassification,
    CptForVisualGrounding,
    FrozenForConditionalGeneration,
)
from hf_prompt_models.playground import ALPRO_DIR, CLIP_DIR, LM_DIR, VILT_DIR, draw_example
from hf_prompt_models.training.run_folder import describe_interrupted, model_directories, model_directory
from tests.training.test_run_folder import write_checkpoint


def resnet(folder: Path) -> Path:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])
    ResNetForImageClassification(config).save_pretrained(folder / "resnet")
    return folder / "resnet"


def adapter(folder: Path) -> Path:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.zip", "w") as file:
        file.writestr("config.json", "{}")
    return folder / "model.zip"


def written(name: str, content: str, inside: str = "") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
        return folder / inside

    return write


FOREIGN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "clip": (lambda folder: CLIP_DIR, "a CLIPModel of type 'clip'.* --backbone"),
    "vilt": (lambda folder: VILT_DIR, "type 'vilt'.* --backbone"),
    "language model": (lambda folder: LM_DIR, "type 'llama'"),
    "resnet": (resnet, "a ResNetForImageClassification of type 'resnet'.*pipeline"),
    "adapter": (adapter, "only an adapter"),
    "zip": (archive, "zip archive. Extract it"),
    "text": (written("notes.txt", "hello", "notes.txt"), "it is a file"),
    "weights": (written("model.pth.tar", "x", "model.pth.tar"), "hf-prompt convert"),
    "weights in a folder": (written("alpro.pt", "x"), "hf-prompt convert"),
    "run without a model": (written("run.json", "{}"), "ended before its first checkpoint"),
    "images": (written("a.png", ""), "Put the model first"),
    "empty": (lambda folder: folder, "is empty"),
    "no type": (written("config.json", "{}"), "has no model_type"),
    "not a mapping": (written("config.json", "[1]"), "has no model_type"),
    "parent": (written("mine/config.json", "{}"), "Pass one of them, such as .*mine"),
    "nothing": (lambda folder: folder / "none", "the folder does not exist"),
    "hub": (lambda folder: Path("someone/model"), "hf download someone/model"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_path_without_a_model_of_this_package_is_refused(kind: str, tmp_path: Path) -> None:
    make, message = FOREIGN[kind]
    path = make(tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            model_directory(str(path))


@pytest.mark.parametrize("kind", ["clip", "vilt", "resnet", "adapter", "zip", "empty"])
@pytest.mark.parametrize(
    "command",
    [
        "predict {} {}/a.png",
        "evaluate {} --test_dir {}",
        "export {} --output {}/m.onnx",
        "interpret {}",
        "app {}",
        "report {}",
    ],
)
def test_every_command_refuses_it_with_exit_code_1(command: str, kind: str, tmp_path: Path) -> None:
    make, message = FOREIGN[kind]
    (tmp_path / "place").mkdir()
    path = make(tmp_path / "place")
    draw_example("key", "test", seed=0, index=0).save(tmp_path / "a.png")
    with pytest.raises(SystemExit, match="result" if command.startswith("report") else message):
        main(command.format(path, tmp_path).split())


@pytest.mark.parametrize(
    ("model_class", "folder"),
    [
        (CoOpForImageClassification, CLIP_DIR),
        (ClipZeroShotForImageClassification, ALPRO_DIR),
        (CptForVisualGrounding, VILT_DIR),
        (FrozenForConditionalGeneration, LM_DIR),
        (AlproForVideoTextRetrieval, CLIP_DIR),
    ],
)
def test_from_pretrained_refuses_a_backbone_and_names_from_backbone(model_class: type, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"type '\w+', not '\w+'.*from_backbone"):
        model_class.from_pretrained(folder)  # type: ignore[attr-defined]


def test_a_model_of_another_kind_is_not_exported(tmp_path: Path) -> None:
    CptForVisualGrounding.from_backbone(VILT_DIR).save_pretrained(tmp_path)
    for argv in (["export", str(tmp_path), "--output", "m.onnx"], ["interpret", str(tmp_path)]):
        with pytest.raises(SystemExit, match=r"grounds phrases\. Pass a model that classifies images"):
            main(argv)


def test_an_interrupted_run_gives_its_newest_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run, photo = tmp_path / "run", tmp_path / "a.png"
    draw_example("key", "test", seed=0, index=0).save(photo)
    for seed in ("seed-1", "seed-2"):
        (run / seed).mkdir(parents=True)
    CoOpForImageClassification.from_backbone(CLIP_DIR, ["key", "cup"]).save_pretrained(run / "seed-1")
    for step in (1, 20, 3):
        checkpoint = write_checkpoint(run / "seed-2" / f"checkpoint-{step}")
        shutil.copytree(run / "seed-1", checkpoint, dirs_exist_ok=True)
    (run / "seed-2" / "checkpoint-20" / "trainer_state.json").write_text("torn")
    directories = model_directories(str(run))
    assert directories == {"1": run / "seed-1", "2": run / "seed-2" / "checkpoint-3"}
    assert describe_interrupted(str(run), directories) == (
        f"{run} was interrupted before the end of training. Using {run}/seed-2/checkpoint-3."
    )
    assert describe_interrupted(str(run), {"1": run / "seed-1"}) == ""
    main(["predict", str(run / "seed-2"), str(photo), "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["image"] == str(photo)
    assert captured.err.startswith(f"{run}/seed-2 was interrupted")
    main(["predict", str(run / "seed-2" / "checkpoint-3"), str(photo), "--json"])
    assert "interrupted" not in capsys.readouterr().err
