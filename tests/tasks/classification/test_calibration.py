"""Temperature scaling against a search, and the decision whether it is applied."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, pipeline

from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.metrics import expected_calibration_error
from hf_prompt_models.playground import draw_example
from hf_prompt_models.tasks.classification.calibration.plot import plot_reliability
from hf_prompt_models.tasks.classification.calibration.temperature import (
    cross_fitted,
    fit_temperature,
    log_softmax,
    negative_log_likelihood,
)


NAMES = ["boat", "cup", "fish"]


def sampled(temperature: float, seed: int = 0, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Return logits whose softmax at a temperature is the distribution that the labels are sampled from."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.standard_normal((count, 4))
    probabilities = np.exp(log_softmax(logits))
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    return temperature * logits, labels


@pytest.mark.parametrize("temperature", [0.3, 1.7, 6.0])
def test_the_fitted_temperature_is_the_best_of_a_fine_grid(temperature: float) -> None:
    logits, labels = sampled(temperature)
    grid = np.geomspace(0.05, 20, 4000)
    losses = [F.cross_entropy(torch.tensor(logits / each), torch.tensor(labels)).item() for each in grid]
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=2e-3)
    assert fitted == pytest.approx(temperature, rel=0.2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 5), st.floats(0.01, 50))
def test_the_fitted_temperature_never_raises_the_likelihood_it_was_fitted_on(
    seed: int, count: int, classes: int, scale: float
) -> None:
    generator = np.random.default_rng(seed)
    logits, labels = scale * generator.standard_normal((count, classes)), generator.integers(classes, size=count)
    before, after = (
        negative_log_likelihood(logits, labels, each).mean() for each in (1.0, fit_temperature(logits, labels))
    )
    assert after <= before


def test_predictions_that_are_all_right_give_the_smallest_temperature() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == pytest.approx(0.01)


def test_overconfident_probabilities_are_calibrated_on_other_data() -> None:
    logits, labels = sampled(4.0)
    found = cross_fitted(logits, labels, np.arange(len(labels)) % 5)
    assert found.temperature == found.fitted_temperature == pytest.approx(4, rel=0.2)
    others, their_labels = sampled(4.0, seed=1)
    errors = [
        expected_calibration_error(np.exp(log_softmax(others / each)), their_labels) for each in (1, found.temperature)
    ]
    assert errors[1] < 0.3 * errors[0]
    assert found.calibrated_error < found.calibration_error
    assert found.calibrated_log_likelihood < found.negative_log_likelihood


def test_a_temperature_that_does_not_help_on_other_folds_is_not_applied() -> None:
    logits, labels = sampled(1.0, count=60)
    folds = np.arange(60) % 3
    logits[folds == 0] *= 8  # one fold is overconfident, the others are not
    logits[folds == 1] /= 8
    found = cross_fitted(logits, labels, folds)
    assert found.calibrated_log_likelihood > found.negative_log_likelihood
    assert found.fitted_temperature != 1
    assert (found.temperature, found.is_applied) == (1.0, False)


def test_each_fold_is_judged_with_a_temperature_of_the_others() -> None:
    logits, labels = sampled(3.0, count=40)
    folds = np.arange(40) % 2
    found = cross_fitted(logits, labels, folds)
    expected = logits.copy()
    for fold in (0, 1):
        expected[folds == fold] /= fit_temperature(logits[folds != fold], labels[folds != fold])
    assert found.calibrated_log_likelihood == pytest.approx(
        F.cross_entropy(torch.tensor(expected), torch.tensor(labels)).item()
    )


def test_the_pipeline_and_the_model_divide_logits_by_the_temperature(tmp_path: Path) -> None:
    model = ClipZeroShotForImageClassification.from_backbone("playground", NAMES).eval()
    features = torch.randn(5, model.image_feature_size)
    with torch.no_grad():
        plain = model(image_embeds=features, labels=torch.tensor([0, 1, 2, 0, 1]))
        model.config.calibration_temperature = 2.5
        scaled = model(image_embeds=features, labels=torch.tensor([0, 1, 2, 0, 1]))
    torch.testing.assert_close(scaled.logits, plain.logits / 2.5)
    assert scaled.loss == plain.loss  # training does not depend on a temperature that was fitted after it
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.calibration_temperature == 2.5
    image = Image.new("RGB", (32, 32), "red")
    scores = {entry["label"]: entry["score"] for entry in pipeline("image-classification", model=str(tmp_path))(image)}
    with torch.no_grad():
        inputs = model.processor(images=image, return_tensors="pt")
        expected = loaded(**inputs).logits.softmax(dim=-1)[0]
    assert [scores[name] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-5)


def test_configurations_without_a_temperature_have_one(tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("calibration_temperature", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.calibration_temperature == 1


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf")])
def test_a_temperature_must_be_a_number_above_0(tmp_path: Path, value: float) -> None:
    CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"calibration_temperature": value}))
    with pytest.raises(ValueError, match="calibration_temperature"):
        AutoModelForImageClassification.from_pretrained(tmp_path)


def test_other_classes_reset_the_temperature(caplog: pytest.LogCaptureFixture) -> None:
    model = CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=2)
    model.config.calibration_temperature = 2.0
    model.set_classes(NAMES)
    assert (model.config.calibration_temperature, caplog.messages) == (2.0, [])
    model.set_classes(["boat", "tree"])
    assert model.config.calibration_temperature == 1
    assert "fitted for other classes" in caplog.text
    caplog.clear()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 8), ("test", 4)):
        for name in NAMES:
            (directory / split / name).mkdir(parents=True)
            for index in range(count):
                image = draw_example(name, split, seed=7, index=index)
                image.save(directory / split / name / f"{index}.png")
    return directory


def train(photos: Path, output: Path, *more: object) -> dict[str, Any]:
    flags = ["--backbone", "playground", "--train_dir", photos / "train", "--test_dir", photos / "test"]
    flags += ["--feature_cache", photos / "cache", "--disable_tqdm", "true", "--output_dir", output]
    argv = ["train", "feature_adapter", *flags, "--adapter_type", "linear", "--calibrate", "true", *more]
    assert main([str(word) for word in argv]) == 0
    return json.loads((output / "results.json").read_text())


def test_train_saves_the_temperature_and_evaluate_uses_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = train(photos, tmp_path / "run", "--shots", 8)
    found = results["seeds"]["1"]["calibration"]
    assert (found["examples"], found["folds"]) == (24, 5)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["calibration_temperature"] == found["temperature"]
    helps = found["calibrated_error"] < found["calibration_error"]
    helps &= found["calibrated_log_likelihood"] < found["negative_log_likelihood"]
    assert found["temperature"] == (found["fitted_temperature"] if helps else 1.0)
    shown = capsys.readouterr().out
    assert "Calibration, seed 1: " in shown
    assert f"{found['calibration_error']:.2%} without" in shown
    test = results["seeds"]["1"]["tests"]["test"]

    plot, file = tmp_path / "reliability.png", tmp_path / "evaluation.json"
    argv = ["evaluate", tmp_path / "run", "--test_dir", photos / "test", "--feature_cache", photos / "cache"]
    argv += ["--json", file, "--reliability_plot", plot, "--min_score", 0.5]
    assert main([str(word) for word in argv]) == 0
    (evaluated,) = json.loads(file.read_text())["seeds"].values()
    assert evaluated["expected_calibration_error"] == pytest.approx(test["expected_calibration_error"])
    assert evaluated["accuracy_at_coverage"]["1.0"] == evaluated["accuracy"]
    assert 0 <= evaluated["min_score"]["coverage"] <= 1
    shown = capsys.readouterr().out
    assert f"expected calibration error: {evaluated['expected_calibration_error']:.2%}" in shown
    assert "answered with --min_score 0.5" in shown
    with Image.open(plot) as image:
        assert image.width > 500


def test_nothing_is_fitted_if_no_class_has_a_second_image(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = train(photos, tmp_path / "run", "--shots", 1)
    assert results["seeds"]["1"]["calibration"] is None
    assert "no class has two images that differ" in capsys.readouterr().out


def test_the_reliability_plot_accepts_one_prediction(tmp_path: Path) -> None:
    plot_reliability(np.array([[0.3, 0.7]]), np.array([1]), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
