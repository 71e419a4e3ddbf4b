"""`hf-prompt train auto` on drawn images: what it writes, what it reads, and what it refuses."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from hf_prompt_cli.main import main
from hf_prompt_models import FeatureAdapterForImageClassification
from hf_prompt_models.data import read_labelled_images
from hf_prompt_models.playground import draw_example
from hf_prompt_models.tasks.image_classification.auto import run


CLASSES = ("boat", "cup", "fish")
QUICK = ["--methods", "zero-shot", "tip_adapter"]


def draw(directory: Path, split: Any, count: int) -> None:
    """Draw a number of images of each class, which differ as objects do."""
    for name in CLASSES:
        (directory / split / name).mkdir(parents=True)
        for index in range(count):
            draw_example(name, split, seed=0, index=index).save(directory / split / name / f"{index:03}.png")


def flags(directory: Path, *more: str) -> list[str]:
    """A command line for the training images of a folder."""
    given = ["--backbone", "playground", "--train_dir", str(directory / "train"), "--disable_tqdm", "true"]
    given += ["--feature_cache", str(directory / "cache"), "--output_dir", str(directory / "auto")]
    return ["train", "auto", *given, *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings of three classes, five of each."""
    directory = tmp_path_factory.mktemp("data")
    draw(directory, "train", 5)
    draw(directory, "test", 3)
    return directory


OPENED: list[str] = []
RECORDS: list[bool] = []


def record(event: str, arguments: tuple[Any, ...]) -> None:
    """Note every path that Python opens or lists while `RECORDS` is not empty."""
    if RECORDS and event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
        OPENED.append(os.fspath(arguments[0]))


sys.addaudithook(record)


@pytest.fixture(scope="module")
def trained(data: Path) -> tuple[Path, str]:
    """Output folder of a run, and what it printed."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", printed)
        RECORDS.append(True)
        try:
            assert main(flags(data, *QUICK)) == 0
        finally:
            RECORDS.clear()
    return data / "auto", printed.getvalue()


def test_the_model_is_an_ordinary_checkpoint_of_the_winner_trained_on_all_images(
    trained: tuple[Path, str], data: Path
) -> None:
    directory, _ = trained
    results = json.loads((directory / "results.json").read_text())
    assert results["winner"]["name"] == "tip_adapter, default prompt"
    images = read_labelled_images(str(data / "train"))
    reference = FeatureAdapterForImageClassification.from_backbone("playground", CLASSES, adapter_type="tip_adapter")
    pixels = reference.processor(images=[images.load(index) for index in range(15)], return_tensors="pt")
    with torch.no_grad():
        features = reference.get_image_features(**pixels).pooler_output
        reference.fit_features(features, torch.tensor(images.labels))
        model = AutoModelForImageClassification.from_pretrained(directory)
        torch.testing.assert_close(model(**pixels).logits, reference.eval()(**pixels).logits)
    (best, *_) = pipeline("image-classification", model=str(directory))(str(data / "test" / "cup" / "000.png"))
    assert best["label"] == "cup"


def test_all_candidates_are_in_the_table_best_first(trained: tuple[Path, str]) -> None:
    directory, _ = trained
    rows = list(csv.DictReader((directory / "candidates.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["candidate"] for row in rows} == {
        "tip_adapter, default prompt",
        *(f"zero-shot, {prompts}" for prompts in ("default prompt", "imagenet_7", "waffle")),
    }
    accuracies = [float(row["accuracy"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)
    with Image.open(directory / "candidates.png") as figure:
        assert figure.width > 500
    assert len(json.loads((directory / "few_shot.json").read_text())["classes"]) == 3
    assert not list(directory.glob(".*"))


def test_three_lines_say_what_won_what_to_expect_and_what_more_images_bring(trained: tuple[Path, str]) -> None:
    directory, printed = trained
    won, expected, more = printed.splitlines()[:3]
    assert won.startswith("Chosen: tip_adapter, default prompt, the best of 4 candidates with 93.3% in cross-validati")
    assert "zero-shot 86.7% (+6.7 points, within noise)" in won  # one image of 15
    estimate = json.loads((directory / "results.json").read_text())["estimate"]
    assert expected.startswith(
        f"Estimated test accuracy: {estimate['value']:.1%} (90 % interval {estimate['low']:.1%} "
    )
    assert "from 15 images" in expected
    assert more.startswith("More images: 10 instead of 5 per class would bring about ")
    assert " ".join(expected.split()) in " ".join((directory / "README.md").read_text().split())


def test_the_estimate_is_of_nested_choices(trained: tuple[Path, str]) -> None:
    results = json.loads((trained[0] / "results.json").read_text())
    estimate = results["estimate"]
    assert estimate["low"] < estimate["value"] <= estimate["high"] <= 1
    assert results["held_out_images"] == 15
    assert results["learning_curve"]["images_per_class"] == sorted(results["learning_curve"]["images_per_class"])


@pytest.mark.usefixtures("trained")
def test_no_data_but_that_of_train_dir_is_read(data: Path) -> None:
    below = [Path(path).resolve() for path in OPENED]
    below = [path for path in below if path.is_relative_to(data.resolve()) and path != data.resolve()]
    assert any(path.is_relative_to((data / "train").resolve()) for path in below)
    read = {path.relative_to(data.resolve()).parts[0] for path in below}
    assert read <= {"train", "cache", "auto"}


def test_test_images_that_cannot_be_read_do_not_matter(tmp_path: Path, data: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "train").symlink_to(data / "train")
    for name in CLASSES:
        (tmp_path / "photos" / "test" / name).mkdir(parents=True)
        (tmp_path / "photos" / "test" / name / "000.png").write_text("not an image")
    arguments = flags(tmp_path, *QUICK[:2])
    arguments[arguments.index("--train_dir") + 1] = str(tmp_path / "photos")
    assert main(arguments) == 0


@pytest.mark.parametrize("flag", ["--test_dir", "--test_fraction"])
def test_test_data_is_refused_with_the_reason(data: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(flags(data, flag, str(data / "test")))
    assert stop.value.code == 2
    assert "auto needs no test data; evaluate the result afterwards with hf-prompt evaluate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--time_budget", "soon"], "Expected a time such as 5m"),
        (["--time_budget", "0s"], "got '0s'"),
        (["--seeds", "1", "2"], "expected one seed"),
        (["--seed", "1", "--seeds", "2"], "pass only one of the two flags"),
        (["--shots", "-1"], "at least 0"),
        (["--adapter_type", "clap"], "there is no flag --adapter_type"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    data: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(flags(data, *given))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_one_image_per_class_gives_a_safe_choice_without_an_estimate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(data, "--shots", "1", "--output_dir", str(tmp_path / "one"))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Chosen without comparison: clap, default prompt. No image could be held out")
    assert lines[1] == "Estimated test accuracy: unknown, because every image was needed for training."
    results = json.loads((tmp_path / "one" / "results.json").read_text())
    assert results["estimate"] is None
    assert results["winner"]["arguments"]["adapter_type"] == "clap"
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "one").config.adapter_type == "clap"


def test_copies_are_kept_together_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path, "train", 3)
    for name in CLASSES:
        with Image.open(tmp_path / "train" / name / "000.png") as image:
            image.save(tmp_path / "train" / name / "copy.png", compress_level=0)  # other bytes, the same pixels
    assert main(flags(tmp_path, "--methods", "tip_adapter")) == 0
    assert "3 images of" in (printed := capsys.readouterr().out)
    assert "as similar to others of their class as copies" in printed


def test_an_interrupted_run_leaves_no_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "plot_search", interrupt)  # when the model is written, but not in place
    with pytest.raises(SystemExit) as stop:
        main(flags(data, "--methods", "zero-shot", "--output_dir", str(tmp_path / "out")))
    assert stop.value.code == 130
    assert list((tmp_path / "out").iterdir()) == []
    assert "No model was saved. Computed features are in the feature cache." in capsys.readouterr().err


def test_a_budget_that_is_too_short_names_what_does_not_fit(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"No candidate fits into --time_budget 1s \(zero-shot, default prompt: need"):
        main(flags(data, "--time_budget", "1s", "--output_dir", str(data / "short")))
    assert not (data / "short" / "config.json").exists()


def test_a_finished_run_is_not_overwritten(trained: tuple[Path, str], data: Path) -> None:
    with pytest.raises(SystemExit, match="already contains a run"):
        main(flags(data, *QUICK))
    assert np.isfinite(json.loads((trained[0] / "results.json").read_text())["seconds"])
