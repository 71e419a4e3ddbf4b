"""train.py under each protocol, its tables against manually counted predictions, and report.py after it."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from tests.full_length_reference import coop_logits
from tests.pictures import write_pictures
from tests.scripts.test_few_shot_scripts import flags, refused, script


CLASSES = {"ant": 4, "bee": 4, "cat": 4, "dog": 4}
OTHERS = {"cow": 3, "owl": 3, "pig": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_pictures(directory / "train", CLASSES)
    write_pictures(directory / "test", dict.fromkeys(CLASSES, 3), seed=1)
    write_pictures(directory / "birds" / "test", OTHERS, seed=2)
    return directory


def counted(clip_folder: Path, model_folder: Path, images: Path, class_names: list[str]) -> dict[str, int]:
    """Count the correct predictions per class with the learned context, computed by the reference implementation."""
    clip, tokenizer = CLIPModel.from_pretrained(clip_folder), AutoTokenizer.from_pretrained(clip_folder)
    context = load_file(model_folder / "model.safetensors")["prompt_learner.context"]
    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    right = {}
    for label, name in enumerate(class_names):
        pictures = [Image.open(file) for file in sorted((images / name).iterdir())]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            features = clip.get_image_features(pixel_values=pixels).pooler_output
            logits = coop_logits(clip, tokenizer, class_names, context, "end", features)
        right[name] = (logits.argmax(-1) == label).sum().item()
    return right


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_base_to_new_is_what_counting_by_hand_gives(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = flags(modern_clip, data, tmp_path, "--protocol", "base-to-new", "--seeds", 1, 2, "--learning_rate", 0.5)
    script("train.py")(settings)
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    shares: dict[str, list[float]] = {"base": [], "new": []}
    for seed in (1, 2):
        folder = tmp_path / f"seed-{seed}"
        for role, names in {"base": ["ant", "bee"], "new": ["cat", "dog"]}.items():
            share = sum(counted(modern_clip, folder, data / "test", names).values()) / 6
            assert results["seeds"][str(seed)]["tests"][role]["accuracy"] == share
            rows = [row for row in rows_of(folder) if row["test"] == role]
            assert len(rows) == 6
            assert sum(row["label"] == row["predicted_label"] for row in rows) / 6 == share
            assert sum(row["rank"] == "1" for row in rows) / 6 == share
            assert {row["class"] for row in rows} == set(names) >= {row["predicted_class"] for row in rows}
            shares[role].append(share)
    means = {role: sum(values) / 2 for role, values in shares.items()}
    assert {role: results["tests"][role]["accuracy"]["mean"] for role in means} == pytest.approx(means)
    learned = 2 * means["base"] * means["new"] / (means["base"] + means["new"])
    assert results["harmonic_mean"]["learned"] == pytest.approx(learned)
    mean_row = next(line for line in printed.splitlines() if "mean ± deviation" in line)
    assert [part for part in mean_row.split() if part.endswith("%")][::2] == [
        f"{means['base']:.2%}",
        f"{means['new']:.2%}",
        f"{learned:.2%}",
    ]
    config = json.loads((tmp_path / "seed-1" / "config.json").read_text())
    assert config["id2label"] == {"0": "ant", "1": "bee"}  # the classes that it was trained on

    script("report.py")([str(tmp_path)])
    table = capsys.readouterr().out
    assert f"{100 * learned:.2f}" in table
    assert f"{100 * results['harmonic_mean']['zero_shot']:.2f}" in table


@pytest.mark.slow
def test_cross_dataset_carries_the_prompt_to_other_classes(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    target = ("--protocol", "cross-dataset", "--target_dirs", data / "birds")
    script("train.py")(flags(modern_clip, data, tmp_path, *target))
    results = json.loads((tmp_path / "results.json").read_text())
    right = counted(modern_clip, tmp_path, data / "birds" / "test", sorted(OTHERS))
    assert results["tests"]["birds"]["accuracy"]["mean"] == sum(right.values()) / 9
    right = counted(modern_clip, tmp_path, data / "test", sorted(CLASSES))
    assert results["accuracy"]["mean"] == results["tests"]["source"]["accuracy"]["mean"] == sum(right.values()) / 12
    assert (tmp_path / "confusion_matrix_birds.png").is_file()
    assert "birds" in capsys.readouterr().out

    script("evaluate.py")([str(tmp_path), "--test_dir", str(data / "birds"), "--set_classes"])
    assert f"{results['tests']['birds']['accuracy']['mean']:.2%}" in capsys.readouterr().out
    script("report.py")([str(tmp_path)])
    assert "birds" in capsys.readouterr().out


def test_other_classes_start_from_the_papers_four_words(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    settings = flags(modern_clip, data, tmp_path, "--protocol", "base-to-new", "--num_train_epochs", 1)
    place = settings.index("--n_ctx")
    script("train.py")(settings[:place] + settings[place + 2 :])
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["context_init"] == "a photo of a"
    assert json.loads((tmp_path / "results.json").read_text())["arguments"]["context_init"] == "a photo of a"


def test_what_cannot_be_carried_is_refused_before_training(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    def message(*more: object) -> str:
        return refused("train.py", *flags(modern_clip, data, tmp_path / "out", *more))

    specific = ("--protocol", "base-to-new", "--class_specific_context", "true")
    assert "class-specific context" in message(*specific)
    assert message("--protocol", "cross-dataset") == message("--target_dirs", data / "birds") == "2"
    assert message("--protocol", "cross-dataset", "--target_dirs", f"unheard={data / 'birds'}") == "2"
    long = tmp_path / "long"
    write_pictures(long, {"cow " * 30: 1, "owl": 1})
    target = ("--protocol", "cross-dataset", "--target_dirs", long, "--n_ctx", 60)
    assert "too long" in message(*target)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_views_train_without_the_image_tower_and_repeat(
    modern_clip: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All images are encoded before training; a second run uses the cache and gives the same result."""
    seen = []
    original = CLIPModel.get_image_features

    def counting(self: CLIPModel, *arguments: object, **inputs: torch.Tensor) -> object:
        seen.append(len(inputs["pixel_values"]))
        return original(self, *arguments, **inputs)

    monkeypatch.setattr(CLIPModel, "get_image_features", counting)
    views = ("--augmented_views", 3, "--feature_cache", tmp_path / "cache")
    script("train.py")(flags(modern_clip, data, tmp_path / "one", *views))
    assert sum(seen) == 4 * 4 * 3 + 12  # views of the sample, and the test images
    seen.clear()
    script("train.py")(flags(modern_clip, data, tmp_path / "two", *views))
    assert not seen
    one, two = (AutoModelForImageClassification.from_pretrained(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(one.context, two.context)


def test_images_as_in_testing_are_a_choice_and_a_negative_number_is_not(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path, "--augmented_views", 0, "--feature_cache", "off"))
    assert json.loads((tmp_path / "results.json").read_text())["arguments"]["augmented_views"] == 0
    assert "at least 0, got -1" in refused("train.py", *flags(modern_clip, data, tmp_path, "--augmented_views", -1))
