"""A planted wrong label, a planted duplicate and a nonsense class name are found among real photos."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hf_prompt_cli.main import main
from tests.test_real_photos import CLIP, PHOTOS
from tests.test_real_photos import pytestmark as pytestmark


CLASSES = ("Banana", "Carrots", "Kiwi", "Red-Beet")
NONSENSE = "Qwzxv"


def images_of(part: str, name: str, count: int) -> list[Path]:
    return sorted((PHOTOS / part / name).iterdir())[:count]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    data = tmp_path_factory.mktemp("grocery")
    for part, count in (("train", 12), ("test", 10)):
        for name in CLASSES:
            folder = data / part / (NONSENSE if name == "Red-Beet" else name)
            folder.mkdir(parents=True)
            for file in images_of(part, name, count):
                shutil.copy(file, folder / file.name)
    shutil.copy(images_of("test", "Carrots", 11)[-1], data / "test" / "Banana" / "planted.jpg")
    original = Image.open(images_of("train", "Kiwi", 1)[0]).convert("RGB")
    original.resize((3 * original.width // 5, 3 * original.height // 5)).save(
        data / "test" / "Kiwi" / "again.jpg", quality=70
    )
    shutil.copy(images_of("train", "Banana", 1)[0], data / "test" / "Banana" / "same.jpg")
    run = data / "run"
    common = ["--feature_cache", str(data / "cache")]
    argv = ["train", "feature_adapter", "--backbone", str(CLIP), "--train_dir", str(data / "train"), "--test_dir"]
    argv += [str(data / "test"), "--shots", "12", "--output_dir", str(run), "--disable_tqdm", "true", *common]
    assert main([*argv, "--adapter_type", "lp++"]) == 0
    argv = ["evaluate", str(run), "--test_dir", str(data / "test"), "--data_check", str(data / "checks"), *common]
    assert main([*argv, "--json", str(data / "results.json")]) == 0
    return json.loads((data / "results.json").read_text())["data_check"], data


def rows_of(data: Path, name: str) -> list[dict[str, str]]:
    with (data / "checks" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_planted_wrong_label_is_among_the_most_suspicious(checked: tuple[dict[str, Any], Path]) -> None:
    rows = rows_of(checked[1], "suspicious_labels.csv")
    place = [Path(row["image"]).name for row in rows].index("planted.jpg")
    assert (rows[place]["part"], rows[place]["label"], rows[place]["suggested"]) == ("test", "Banana", "Carrots")
    assert place < 5


def test_the_planted_duplicates_are_found(checked: tuple[dict[str, Any], Path]) -> None:
    rows = {Path(row["test_image"]).name: row for row in rows_of(checked[1], "near_duplicates.csv")}
    assert Path(rows["again.jpg"]["train_image"]).name == images_of("train", "Kiwi", 1)[0].name
    assert rows["again.jpg"]["same_content"] == "0"
    assert rows["same.jpg"]["same_content"] == "1"
    assert len(rows) <= 5


def test_the_nonsense_class_name_is_found(checked: tuple[dict[str, Any], Path]) -> None:
    assert NONSENSE in [row["class"] for row in rows_of(checked[1], "unknown_class_names.csv")]
    assert NONSENSE in checked[0]["unknown_class_names"]["line"]


def test_errors_are_on_a_contact_sheet(checked: tuple[dict[str, Any], Path]) -> None:
    rows = rows_of(checked[1], "confident_errors.csv")
    probabilities = [float(row["probability"]) for row in rows]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(row["label"] != row["predicted"] for row in rows)
    with Image.open(checked[0]["confident_errors"]["sheet"]) as sheet:
        assert sheet.width > 400
