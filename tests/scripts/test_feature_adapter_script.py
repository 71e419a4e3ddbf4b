"""`hf-prompt train feature_adapter`: one run for each type, its flags, and what its search can read."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, CLIPImageProcessorPil

from hf_prompt_models import FeatureAdapterForImageClassification
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import ADAPTER_TYPES
from hf_prompt_models.tasks.image_classification.run import ImageClassificationRun
from tests.pictures import write_pictures
from tests.scripts.test_few_shot_scripts import refused, script


CLASSES = {"ant": 4, "bee": 4, "cat": 4, "dog": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_pictures(directory / "train", CLASSES)
    write_pictures(directory / "test", dict.fromkeys(CLASSES, 3), seed=1)
    return directory


def flags(backbone: Path, data: Path, output_dir: Path, *more: object) -> list[str]:
    settings = {
        "--backbone": backbone,
        "--train_dir": data / "train",
        "--test_dir": data / "test",
        "--shots": 3,
        "--output_dir": output_dir,
        "--disable_tqdm": "true",
        "--feature_cache": data / "features",
    }
    pairs = [str(part) for item in settings.items() for part in item]
    return ["feature_adapter", *pairs, *(str(part) for part in more)]


@pytest.mark.parametrize("adapter_type", ADAPTER_TYPES)
def test_run_of_every_type_tests_the_saved_model(
    modern_clip: Path, data: Path, tmp_path: Path, adapter_type: str, capsys: pytest.CaptureFixture
) -> None:
    more = [] if adapter_type in ("lp++", "tip_adapter") else ["--num_train_epochs", 3]
    script("train.py")(
        flags(modern_clip, data, tmp_path, "--adapter_type", adapter_type, "--augmented_views", 2, *more)
    )
    results = json.loads((tmp_path / "results.json").read_text())
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    processor = CLIPImageProcessorPil.from_pretrained(modern_clip)
    test = read_labelled_images(data / "test")
    with torch.no_grad():
        pixels = processor([test.load(index) for index in range(len(test))], return_tensors="pt")["pixel_values"]
        right = (model(pixels).logits.argmax(-1) == torch.tensor(test.labels)).double().mean().item()
    assert results["accuracy"]["mean"] == pytest.approx(right)
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(test)
    settings = results["seeds"]["1"]["settings"]
    assert settings == {name: getattr(model.config, name) for name in settings}
    assert results["arguments"]["adapter_type"] == adapter_type
    steps = {"lp++": 300, "tip_adapter": 0}  # the others: one batch in each of three epochs
    assert results["seeds"]["1"]["steps"] == steps.get(adapter_type, 3)
    assert (tmp_path / "learning_curve.png").is_file()
    assert f"{results['accuracy']['mean']:.2%}" in capsys.readouterr().out


def test_head_starts_from_the_prompts_of_the_zero_shot_result(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    templates = ["a photo of a {}.", "a bad photo of the {}."]
    script("train.py")(
        flags(modern_clip, data, tmp_path, "--augmented_views", 0, "--num_train_epochs", 2, "--templates", *templates)
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.templates == templates
    assert results["zero_shot"]["templates"] == templates


def test_second_run_on_the_same_images_reads_all_features_from_the_cache(
    modern_clip: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path / "one", "--augmented_views", 2))

    def encode_images(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("the image tower ran")

    monkeypatch.setattr(FeatureAdapterForImageClassification, "encode_images", encode_images)
    monkeypatch.setattr(
        "hf_prompt_models.models.clip_zero_shot.ClipZeroShotForImageClassification.encode_images", encode_images
    )
    script("train.py")(flags(modern_clip, data, tmp_path / "two", "--augmented_views", 2))
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    assert one["accuracy"] == two["accuracy"]


@pytest.mark.parametrize("adapter_type", ["tip_adapter", "tip_adapter_f", "clap"])
def test_test_set_cannot_be_read_while_settings_are_searched(
    modern_clip: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter_type: str
) -> None:
    runs: list[ImageClassificationRun] = []
    fitted: list[dict[str, float]] = []
    prepare, fit = ImageClassificationRun.__init__, FeatureAdapterForImageClassification.fit_features

    class Unreadable:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"the test set was read: {name}")

        __getitem__ = __iter__ = __len__ = __getattr__

    def recording(self: ImageClassificationRun, *arguments: Any) -> None:
        prepare(self, *arguments)
        runs.append(self)

    def guarded(self: FeatureAdapterForImageClassification, *arguments: Any, **keywords: Any) -> dict[str, float]:
        (run,) = runs
        kept = {name: getattr(run, name) for name in ("tests", "shared", "zero_shot_scores")}
        for name in kept:
            setattr(run, name, Unreadable())
        (data / "test").rename(data / "moved")
        try:
            fitted.append(fit(self, *arguments, **keywords))
        finally:
            (data / "moved").rename(data / "test")
            for name, value in kept.items():
                setattr(run, name, value)
        return fitted[-1]

    monkeypatch.setattr(ImageClassificationRun, "__init__", recording)
    monkeypatch.setattr(FeatureAdapterForImageClassification, "fit_features", guarded)
    script("train.py")(flags(modern_clip, data, tmp_path, "--adapter_type", adapter_type, "--augmented_views", 1))
    assert len(fitted) == 1


def test_flags_without_effect_are_refused(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    for more, message in (
        (["--optim", "adamw_torch"], "--optim has no effect on feature_adapter"),
        (["--weight_decay", 0.1], "--weight_decay has no effect"),
        (["--adapter_type", "tip_adapter", "--num_train_epochs", 5], "no effect on --adapter_type tip_adapter"),
        (["--adapter_type", "lp++", "--learning_rate", 0.1], "no effect on --adapter_type lp"),
        (["--alpha", 0.1], "--alpha has no effect on --adapter_type clap"),
        (["--adapter_type", "clip_adapter", "--ratio", 2], "ratio must be a share"),
        (["--augmented_views", -1], "must be at least 0"),
    ):
        assert message in refused("train.py", *flags(modern_clip, data, tmp_path, *more))
    assert not (tmp_path / "results.json").exists()


def test_new_classes_are_refused_before_training_unless_the_type_accepts_them(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    wanted = ["--protocol", "base-to-new", "--augmented_views", 1]
    message = refused("train.py", *flags(modern_clip, data, tmp_path / "clap", *wanted))
    assert "new classes need images" in message
    more = [*wanted, "--adapter_type", "prolip", "--num_train_epochs", 2]
    script("train.py")(flags(modern_clip, data, tmp_path / "prolip", *more))
    results = json.loads((tmp_path / "prolip" / "results.json").read_text())
    assert set(results["tests"]) == {"base", "new"}


def test_evaluate_predict_and_report_take_the_run(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path / "run", "--seeds", 1, 2, "--augmented_views", 1))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    script("evaluate.py")(
        [str(tmp_path / "run"), "--test_dir", str(data / "test"), "--json", str(tmp_path / "e.json")]
    )
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert evaluated["accuracy"]["mean"] == pytest.approx(results["accuracy"]["mean"])
    capsys.readouterr()
    image = next((data / "test" / "ant").iterdir())
    script("predict.py")([str(tmp_path / "run" / "seed-1"), str(image)])
    assert "ant" in capsys.readouterr().out
    script("report.py")([str(tmp_path / "run")])
    assert "Feature adapter" in capsys.readouterr().out
