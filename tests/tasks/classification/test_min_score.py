"""`hf-prompt predict --min_score`: “I do not know” below a threshold."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_cli.main import main
from hf_prompt_models.playground import draw_example


NAMES = ["boat", "cup", "fish"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "photos").mkdir()
    for name in NAMES:
        for index in range(2):
            draw_example(name, "test", seed=3, index=index).save(directory / "photos" / f"{name}-{index}.png")
    (directory / "names.txt").write_text("\n".join(NAMES))
    return directory


def predict(files: Path, capsys: pytest.CaptureFixture[str], *more: object) -> str:
    capsys.readouterr()
    argv = ["predict", "playground", *more, "--class_names", files / "names.txt"]
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


def entries(files: Path, capsys: pytest.CaptureFixture[str], *more: object) -> list[dict[str, Any]]:
    return json.loads(predict(files, capsys, files / "photos", "--json", *more))


def test_the_label_is_null_below_the_threshold_and_the_best_guess_is_kept(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = entries(files, capsys)
    assert all(set(entry) == {"image", "predictions"} for entry in plain)
    scores = sorted(entry["predictions"][0]["score"] for entry in plain)
    threshold = (scores[2] + scores[3]) / 2
    found = entries(files, capsys, "--min_score", threshold)
    assert [entry["predictions"] for entry in found] == [entry["predictions"] for entry in plain]
    assert sum(entry["label"] is None for entry in found) == 3
    for entry in found:
        best = entry["predictions"][0]
        assert entry["score"] == best["score"]
        assert entry["label"] == (best["label"] if best["score"] >= threshold else None)


def test_the_summary_and_the_table_count_unknown_files(
    files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = predict(files, capsys, files / "photos", "--min_score", 1, "--csv", tmp_path / "table.csv")
    assert "6  100.0%  I do not know (--min_score 1)" in shown
    assert "6 images, by the best class:" in shown
    with (tmp_path / "table.csv").open(newline="") as file:
        assert {row["known"] for row in csv.DictReader(file)} == {"0"}
    shown = predict(files, capsys, files / "photos", "--min_score", 0)
    assert "0    0.0%  I do not know" in shown


def test_a_file_below_the_threshold_shows_the_best_guesses(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [files / "photos" / "cup-0.png", files / "photos" / "cup-1.png"]
    shown = predict(files, capsys, *paths, "--min_score", 1, "--top_k", 2)
    assert shown.count("I do not know: no score is at least 1. Best guesses:") == 2
    assert "I do not know: 2 of 2 images (--min_score 1)" in shown


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "much"])
def test_a_threshold_outside_of_0_to_1_is_refused(files: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    with pytest.raises(SystemExit):
        predict(files, capsys, files / "photos", f"--min_score={value}")
    assert "expected a number from 0 to 1" in capsys.readouterr().err
