"""`--test_fraction`: a flat folder of classes is enough to train and test."""

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_cli.main import main
from hf_prompt_models.playground import draw_example


NAMES = ["boat", "cup", "fish"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "photos"
    for name in NAMES:
        (directory / name).mkdir(parents=True)
        for index in range(5):
            draw_example(name, "train", seed=5, index=index).save(directory / name / f"{index}.png")
    return directory


def flags(photos: Path, output: Path, *more: object) -> list[str]:
    chosen = ["train", "coop", "--backbone", "playground", "--train_dir", photos, "--shots", 2, "--n_ctx", 2]
    chosen += ["--num_train_epochs", 1, "--feature_cache", "off", "--disable_tqdm", "true", "--output_dir", output]
    return [str(flag) for flag in [*chosen, *more]]


def refused(argv: list[str]) -> Any:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    return stop.value.code


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "held"
    assert main(flags(photos, output, "--test_fraction", 0.4, "--seeds", 1, 2)) == 0
    return output


def images_tested(folder: Path) -> set[str]:
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["image"] for row in csv.DictReader(file)}


def test_all_seeds_test_the_same_files_and_train_on_others(run: Path) -> None:
    split = json.loads((run / "split.json").read_text())
    results = json.loads((run / "results.json").read_text())
    assert (len(split["train"]), len(split["test"])) == (9, 6)
    assert results["data"]["test_images"] == 6
    assert (results["data"]["test_fraction"], results["data"]["split_seed"]) == (0.4, 0)
    for seed in (1, 2):
        assert images_tested(run / f"seed-{seed}") == set(split["test"])
        sample = json.loads((run / f"seed-{seed}" / "few_shot.json").read_text())
        assert {name for entry in sample["classes"] for name in entry["images"]} <= set(split["train"])


def test_evaluate_repeats_the_test_from_the_split_file(run: Path, tmp_path: Path) -> None:
    argv = ["evaluate", str(run), "--test_dir", str(run / "split.json"), "--feature_cache", "off"]
    assert main([*argv, "--json", str(tmp_path / "again.json")]) == 0
    again, results = (json.loads(file.read_text()) for file in (tmp_path / "again.json", run / "results.json"))
    assert again["accuracy"] == results["accuracy"]
    assert again["data"]["test_images"] == 6


def test_another_run_takes_both_parts_of_a_split_file(run: Path, photos: Path, tmp_path: Path) -> None:
    split = run / "split.json"
    argv = flags(split, tmp_path / "other", "--test_dir", split)
    assert main(argv) == 0
    assert images_tested(tmp_path / "other") == set(json.loads(split.read_text())["test"])


def test_resuming_with_another_split_is_refused(run: Path, photos: Path) -> None:
    more = ["--seeds", "1", "2", "--resume_from_checkpoint", "true"]
    assert "holds out other files" in refused(flags(photos, run, "--test_fraction", 0.4, "--split_seed", 1, *more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "--test_dir DIR, or --test_fraction"),
        (["--test_fraction", "0.2", "--test_dir", "photos"], "pass only one of"),
        (["--test_fraction", "1"], "between 0 and 1"),
        (["--test_fraction", "20"], "between 0 and 1"),
        (["--test_dir", "photos", "--split_seed", "1"], "--split_seed has no effect without --test_fraction"),
    ],
)
def test_exactly_one_test_set_is_needed(
    more: list[str], message: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert refused(flags(photos, tmp_path / "run", *more)) == 2
    assert message in capsys.readouterr().err


def test_the_error_for_too_few_images_counts_those_that_are_held_out(photos: Path, tmp_path: Path) -> None:
    said = refused(flags(photos, tmp_path / "run", "--test_fraction", 0.4, "--shots", 4))
    assert "boat (3), cup (3), fish (3)" in said
    assert "Another 6 images are held out for testing" in said


def test_the_command_that_tests_again_repeats_how_the_data_is_read(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{name}/{index}.png,{name},photo" for name in NAMES for index in range(5)]
    folder = tmp_path / "listed"
    shutil.copytree(photos, folder)
    (folder / "metadata.csv").write_text("\n".join(["file_name,kind,medium", *rows]))
    argv = flags(folder, tmp_path / "run", "--test_fraction", 0.4, "--label_column", "kind")
    assert main(argv) == 0
    again = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Test again with: "))
    assert "--label_column kind" in again
    assert main([*shlex.split(again.removeprefix("Test again with: hf-prompt ")), "--feature_cache", "off"]) == 0


def test_evaluate_names_the_files_that_it_writes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", run, "--test_dir", run / "split.json", "--feature_cache", "off"]
    argv += ["--predictions", tmp_path / "p.csv", "--json", tmp_path / "r.json"]
    assert main([str(word) for word in argv]) == 0
    listed = capsys.readouterr().out.splitlines()[-1].removeprefix("Saved: ").split(", ")
    assert sorted(listed) == sorted(str(file) for file in tmp_path.iterdir())
    assert len(listed) == 3
