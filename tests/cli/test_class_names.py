"""`--class_names` in train, evaluate and predict, and classification without training."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForImageClassification

from hf_prompt_cli.main import main
from hf_prompt_models.backbones.packaged import CLIP_DIR
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.models.coop import CoOpForImageClassification
from hf_prompt_models.playground import draw_example
from tests.videos import write_video


FOLDERS = {"n01": "cup", "n02": "boat", "n03": "key"}
"""Class folders whose order is not that of the names."""


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return str(stop.value.code)


def write_examples(directory: Path, split: str, number: int, folders: dict[str, str] = FOLDERS) -> Path:
    for folder, name in folders.items():
        (directory / folder).mkdir(parents=True)
        for index in range(number):
            draw_example(name, split, seed=3, index=index).save(directory / folder / f"{index}.png")
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_examples(directory / "train", "train", 2)
    write_examples(directory / "test", "test", 4)
    (directory / "names.csv").write_text("folder,name\nn03,key\nn01,cup\nn02,boat\n")
    (directory / "names.txt").write_text("cup\nboat\nkey\n")
    return directory


def train_flags(data: Path, output: Path, *more: object) -> list[str]:
    flags = ["train", "coop", "--backbone", "playground", "--train_dir", data / "train", "--test_dir", data / "test"]
    flags += ["--shots", 2, "--num_train_epochs", 1, "--feature_cache", "off", "--disable_tqdm", "true"]
    return [str(flag) for flag in [*flags, "--context_init", "a photo of a", "--output_dir", output, *more]]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "named"
    assert main(train_flags(data, output, "--class_names", data / "names.csv")) == 0
    return output


def accuracy_of(output: Path, data: Path, *more: object) -> float:
    flags = ["evaluate", output, "--test_dir", data / "test", "--json", output.parent / "accuracy.json", *more]
    assert main([str(flag) for flag in [*flags, "--feature_cache", "off"]]) == 0
    return json.loads((output.parent / "accuracy.json").read_text())["accuracy"]["mean"]


def test_training_uses_and_records_the_names(run: Path, data: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert AutoModelForImageClassification.from_pretrained(run).config.class_names == ["cup", "boat", "key"]
    assert results["class_names"] == {
        "file": str(data / "names.csv"),
        "folders": [["n01", "cup"], ["n02", "boat"], ["n03", "key"]],
    }
    reference = ClipZeroShotForImageClassification.from_backbone("playground", list(FOLDERS.values()))
    right = 0
    for label, (folder, name) in enumerate(FOLDERS.items()):
        for index in range(4):
            image = draw_example(name, "test", seed=3, index=index)
            logits = reference(**reference.processor(images=image, return_tensors="pt")).logits
            right += int(logits.argmax()) == label
        assert folder in FOLDERS
    assert results["zero_shot"]["accuracy"] == right / 12


def test_evaluate_matches_folders_to_the_models_classes_by_the_file(run: Path, data: Path) -> None:
    trained = json.loads((run / "results.json").read_text())["accuracy"]["mean"]
    assert accuracy_of(run, data, "--class_names", data / "names.csv") == trained
    assert accuracy_of(run, data, "--class_names", data / "names.txt") == trained
    assert "--class_names" in refused("evaluate", run, "--test_dir", data / "test")  # the folders are not its classes


def test_names_may_cover_more_folders_than_a_test_set_has(run: Path, data: Path, tmp_path: Path) -> None:
    part = write_examples(tmp_path / "part", "test", 2, {"n01": "cup", "n03": "key"})
    flags = ["evaluate", run, "--test_dir", part, "--class_names", data / "names.csv", "--feature_cache", "off"]
    assert main([str(flag) for flag in flags]) == 0
    assert "no name for 1" in refused(*flags[:-4], "--class_names", write(tmp_path / "a.csv", "n01,cup\nn02,boat"))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_training_suggests_names_where_zero_shot_fails(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main(train_flags(data, tmp_path / "unnamed"))
    printed = capsys.readouterr().out
    weak = json.loads((tmp_path / "unnamed" / "results.json").read_text())["zero_shot"]["least_recognised"]
    assert weak
    assert all(recall <= 1 / 3 for _, recall in weak)
    assert f"not above chance: {weak[0][0]} {weak[0][1]:.0%}" in printed
    assert "--class_names FILE" in printed


def test_training_refuses_names_that_do_not_fit(data: Path, tmp_path: Path) -> None:
    names = write(tmp_path / "names.csv", "n01,cup\nn02,boat\nn4,key")
    assert "n4" in refused(*train_flags(data, tmp_path / "run", "--class_names", names))
    with pytest.raises(SystemExit) as stop:
        main(train_flags(data, tmp_path / "run", "--class_names", names, "--dataset", "dtd"))
    assert stop.value.code == 2


def predictions(capsys: pytest.CaptureFixture, *arguments: object) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["predict", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["model", "flag"])
def test_a_backbone_predicts_without_training(
    form: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = ["playground", data / "test"] if form == "model" else ["--backbone", CLIP_DIR, data / "test"]
    found = predictions(capsys, *backbone, "--class_names", data / "names.txt", "--templates", "a drawing of a {}.")
    reference = ClipZeroShotForImageClassification.from_backbone(
        CLIP_DIR, list(FOLDERS.values()), ["a drawing of a {}."]
    )
    for entry in found:
        image = draw_example(FOLDERS[Path(entry["image"]).parent.name], "test", 3, int(Path(entry["image"]).stem))
        logits = reference(**reference.processor(images=image, return_tensors="pt")).logits[0]
        assert entry["predictions"][0]["label"] == reference.config.id2label[int(logits.argmax())]
        assert entry["predictions"][0]["score"] == pytest.approx(float(logits.softmax(-1).max()), abs=1e-4)
    assert len(found) == 12


def test_a_trained_prompt_takes_the_names_of_the_file(run: Path, data: Path, tmp_path: Path, capsys: Any) -> None:
    names = write(tmp_path / "names.json", '["fish", "cup"]')
    found = predictions(capsys, run, data / "test" / "n01" / "0.png", "--class_names", names)
    assert Counter(each["label"] for each in found[0]["predictions"]) == {"fish": 1, "cup": 1}
    assert "hand-written" in refused(
        "predict", run, data / "test", "--class_names", names, "--templates", "a drawing of a {}."
    )


def test_class_specific_context_keeps_its_classes(data: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone("playground", ["a", "b"], n_ctx=2, class_specific_context=True)
    model.save_pretrained(tmp_path / "csc")
    said = refused("predict", tmp_path / "csc", data / "test", "--class_names", data / "names.txt")
    assert "class-specific context" in said


def test_a_backbone_alone_and_flags_that_do_not_apply_are_refused(data: Path, tmp_path: Path) -> None:
    said = refused("predict", CLIP_DIR, data / "test")
    assert "not trained by a method of this package" in said
    assert "--class_names FILE" in said
    assert "--class_names. Pass both" in refused("predict", CLIP_DIR, data / "test", "--templates", "a {}.")
    names = data / "names.txt"
    assert "--title" in refused("predict", CLIP_DIR, data / "test", "--class_names", names, "--title", "mug")
    assert "Pass files" in refused("predict", CLIP_DIR, "--class_names", names)
    assert "must contain" in refused("predict", CLIP_DIR, data, "--class_names", names, "--templates", "nothing")


def test_zero_shot_writes_a_model_that_evaluates_and_predicts(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    templates = write(tmp_path / "templates.txt", "a drawing of a {}.\n\na {}.\n")
    flags = ["zero_shot", "--backbone", "playground", "--class_names", data / "names.txt", "--output_dir"]
    assert main([*map(str, flags), str(tmp_path / "zs"), "--templates", "default", str(templates)]) == 0
    printed = capsys.readouterr().out
    assert f"hf-prompt predict {tmp_path / 'zs'}" in printed
    assert "3 classes: cup, boat, key" in printed
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "zs")
    assert model.config.templates == ["a photo of a {}.", "a drawing of a {}.", "a {}."]
    assert "ClipZeroShotForImageClassification" in (tmp_path / "zs" / "README.md").read_text()
    assert accuracy_of(tmp_path / "zs", data, "--class_names", data / "names.csv") > 0
    assert "already contains files" in refused(*flags, tmp_path / "zs")


def test_zero_shot_of_videos_is_the_mean_of_the_frames(data: Path, tmp_path: Path, capsys: Any) -> None:
    write_video(tmp_path / "clip.mp4", 8)
    flags = ["zero_shot", "--backbone", "playground", "--class_names", data / "names.txt", "--kind", "video"]
    assert main([*map(str, flags), "--output_dir", str(tmp_path / "zs")]) == 0
    saved = predictions(capsys, tmp_path / "zs", tmp_path / "clip.mp4")
    direct = predictions(capsys, "playground", tmp_path / "clip.mp4", "--class_names", data / "names.txt")
    assert saved == direct
    assert {each["label"] for each in saved[0]["predictions"]} == {"cup", "boat", "key"}
