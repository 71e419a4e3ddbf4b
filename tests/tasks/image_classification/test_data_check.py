"""Each check finds what was planted into made-up probabilities, features and images, and nothing else."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.playground import draw_example
from hf_prompt_models.tasks.image_classification.data_check.class_names import find_unknown_names
from hf_prompt_models.tasks.image_classification.data_check.duplicates import find_near_duplicates, groups_of_copies
from hf_prompt_models.tasks.image_classification.data_check.errors import find_errors
from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages, FrozenTower
from hf_prompt_models.tasks.image_classification.data_check.labels import (
    cross_validated_probabilities,
    find_suspicious_labels,
)


NAMES = ["boat", "cup", "fish"]


def checked(part: str, features: torch.Tensor, labels: list[int], files: list[Path]) -> CheckedImages:
    images = LabelledImages("photos", NAMES, labels, [file.name for file in files], files.__getitem__)
    return CheckedImages(part, images, F.normalize(features, dim=-1))


def noise(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 96)).save(path)
    return path


def test_errors_are_sorted_by_confidence() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    errors = find_errors(probabilities, np.array([1, 0, 1, 0]))
    assert [(each.index, each.predicted, each.probability, each.label_probability) for each in errors] == [
        (1, 1, 0.9, 0.1),
        (3, 1, 0.7, 0.3),
        (0, 0, 0.6, 0.4),
    ]


def test_labels_below_chance_look_wrong_and_the_least_probable_is_first() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05], [0.34, 0.36, 0.3]])
    found = find_suspicious_labels(probabilities, np.array([0, 0, 1, 2, 0]))
    assert [(each.index, each.suggested) for each in found] == [(3, 1), (1, 1)]
    assert found[0].margin == pytest.approx(0.05 - 0.9)


def test_cross_validation_finds_a_planted_label_and_does_not_judge_a_class_of_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    labels = [0] * 10 + [1] * 10 + [2]
    features = torch.eye(8)[torch.tensor(labels)] + 0.05 * torch.randn(21, 8)
    labels[3] = 1
    data = checked("train", features, labels, [noise(tmp_path / f"{index}.png", index) for index in range(21)])
    probabilities, judged = cross_validated_probabilities(data)
    assert judged.tolist() == [True] * 20 + [False]
    found = find_suspicious_labels(probabilities[judged], np.array(labels)[judged])
    assert [(each.index, each.suggested) for each in found] == [(3, 0)]
    np.testing.assert_allclose(probabilities[judged].sum(axis=1), 1)


def test_copies_of_a_file_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    labels = [0] * 10 + [1] * 10
    features = torch.eye(8)[torch.tensor(labels)] + 0.05 * torch.randn(20, 8)
    files = [noise(tmp_path / f"{index}.png", index) for index in range(20)]
    for index in (0, 1, 2):  # the same wrong label three times
        labels[index], files[index], features[index] = 1, files[0], features[0]
    data = checked("train", features, labels, files)
    found = find_suspicious_labels(cross_validated_probabilities(data)[0], np.array(labels))
    assert {each.index for each in found} == {0, 1, 2}


def test_names_at_chance_are_unknown() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    predictions = np.array([0, 0, 0, 1, 1, 2, 0, 0, 1])
    (found,) = find_unknown_names(np.eye(3)[predictions], labels)
    assert (found.label, found.images, found.recall, found.false_positive_rate) == (2, 3, 0.0, 1 / 6)
    assert found.confusions == [(0, 2), (1, 1)]


def test_a_name_that_attracts_all_images_is_unknown() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = find_unknown_names(np.eye(3)[[0, 0, 0, 1, 0, 0]], labels)
    assert [each.label for each in found] == [2]
    found = find_unknown_names(np.eye(3)[np.zeros(6, dtype=int)], labels)
    assert [each.label for each in found] == [0, 1, 2]


def test_copies_are_duplicates_and_images_of_the_same_features_are_not(tmp_path: Path) -> None:
    train_files = [noise(tmp_path / f"train-{index}.png", index) for index in range(3)]
    copy = tmp_path / "copy.jpg"
    Image.open(train_files[1]).resize((60, 60)).save(copy, quality=70)
    same = Path(shutil.copy(train_files[2], tmp_path / "same.png"))
    test_files = [copy, same, noise(tmp_path / "other.png", 9)]
    train = checked("train", torch.eye(4)[:3], [0, 1, 2], train_files)
    test = checked("test", torch.eye(4)[[1, 3, 0]], [1, 2, 0], test_files)
    found = find_near_duplicates(train, test, threshold=0.9)
    assert [(each.train, each.test, each.identical) for each in found] == [(2, 1, True), (1, 0, False)]
    assert found[1].cosine == pytest.approx(1)
    assert found[1].correlation > 0.95
    assert find_near_duplicates(train, test, threshold=1.1) == found[:1]


def test_images_of_a_class_that_are_as_similar_as_copies_are_one_group(tmp_path: Path) -> None:
    classifier = ClipZeroShotForImageClassification.from_backbone("playground", NAMES).eval()
    tower = FrozenTower(classifier, classifier.processor, None, progress=False)
    files = [tmp_path / f"{name}.png" for name in ("cup", "again", "other-class", "fish")]
    image = draw_example("cup", "train", seed=1, index=0)
    for file in files[:3]:
        image.save(file)
    image.resize((2 * image.width, 2 * image.height)).save(files[1])
    draw_example("fish", "train", seed=1, index=0).save(files[3])
    images = LabelledImages("photos", NAMES, [1, 1, 2, 1], [file.name for file in files], files.__getitem__)
    first, again, other_class, fish = groups_of_copies(tower, tower.read("train", images))
    assert first == again
    assert len({first, other_class, fish}) == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    for split, count in (("train", 4), ("test", 3)):
        for name in NAMES:
            (directory / split / name).mkdir(parents=True)
            for index in range(count):
                image = draw_example(name, split, seed=7, index=index)
                image.save(directory / split / name / f"{index}.png")
    shutil.copy(directory / "train" / "cup" / "0.png", directory / "test" / "cup" / "again.png")
    argv = ["train", "feature_adapter", "--backbone", "playground", "--train_dir", directory / "train", "--test_dir"]
    argv += [directory / "test", "--shots", 3, "--output_dir", directory / "run", "--disable_tqdm", "true"]
    assert main([str(word) for word in [*argv, "--feature_cache", directory / "cache"]]) == 0
    return directory


def evaluate(run: Path, *more: object) -> dict[str, Any]:
    argv = ["evaluate", run / "run", "--test_dir", run / "test", "--feature_cache", run / "cache"]
    argv += ["--json", run / "results.json", *more]
    assert main([str(word) for word in argv]) == 0
    return json.loads((run / "results.json").read_text())


def rows(file: str) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_evaluate_writes_a_table_for_each_check(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = evaluate(run, "--data_check", run / "checks", "--train_dir", run / "train")["data_check"]
    shown = capsys.readouterr().out
    for check in checks.values():
        assert check["line"] in shown
        assert len(rows(check["file"])) == check["count"]
    (duplicate,) = [row for row in rows(checks["near_duplicates"]["file"]) if row["same_content"] == "1"]
    assert Path(duplicate["test_image"]).name == "again.png"
    assert Path(duplicate["train_image"]) == run / "train" / "cup" / "0.png"
    assert "No labels look wrong" in shown or "Labels that look wrong" in shown


def test_the_images_of_the_few_shot_sample_are_the_default(run: Path) -> None:
    sample = json.loads((run / "run" / "few_shot.json").read_text())
    names = {name for entry in sample["classes"] for name in entry["images"]}
    checks = evaluate(run, "--data_check", run / "checks")["data_check"]
    assert "of 9 train images" in checks["suspicious_labels"]["line"]
    found = [row for row in rows(checks["near_duplicates"]["file"]) if row["same_content"] == "1"]
    assert len(found) == ("cup/0.png" in names)


def test_without_training_images_the_test_images_are_checked(run: Path) -> None:
    hidden = (run / "run" / "few_shot.json").rename(run / "hidden.json")
    try:
        checks = evaluate(run, "--data_check", run / "checks")["data_check"]
    finally:
        hidden.rename(run / "run" / "few_shot.json")
    assert checks["near_duplicates"]["count"] is None
    assert "Pass --train_dir" in checks["near_duplicates"]["line"]
    assert "train images" not in checks["suspicious_labels"]["line"]


def test_training_images_need_a_check(run: Path) -> None:
    argv = ["evaluate", run / "run", "--test_dir", run / "test", "--train_dir", run / "train"]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in argv])
    assert "--train_dir needs --data_check" in str(stop.value.code)
