"""Published tables are made by commands that exist, and are printed next to what was measured."""

import argparse
import json
import shlex
import sys
from pathlib import Path

import pytest

from hf_prompt_cli.main import parsers
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS
from scripts.reproduce import run
from tests.pictures import write_pictures
from tests.programs import run_program


SCRIPT = Path(run.__file__)
TABLES = run.read_tables()["tables"]
CLASSES = ["abyssinian", "beagle", "boxer", "pug"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the layout of OxfordPets, with 4 classes."""
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "oxford_pets" / "images", dict.fromkeys(CLASSES, 3))
    splits = {
        split: [
            [f"{name}/{index:03}.png", label, name] for label, name in enumerate(CLASSES) for index in range(*which)
        ]
        for split, which in (("train", (0, 2)), ("val", (2, 3)), ("test", (2, 3)))
    }
    (folder / "oxford_pets" / "split_zhou_OxfordPets.json").write_text(json.dumps(splits))
    return folder


def arguments(name: str, folder: Path, **others: object) -> argparse.Namespace:
    given = {"data_dir": folder, "output_dir": folder, "rows": None, "settings": None, "backbone": None}
    return argparse.Namespace(table=name, passed_on=[], **(given | others))


@pytest.mark.parametrize("name", TABLES)
def test_every_command_of_a_table_is_one_that_its_parser_takes(name: str, tmp_path: Path) -> None:
    known = parsers()
    for one in run.runs_of(TABLES[name], arguments(name, tmp_path)):
        for command in one.commands:
            words = " ".join(command[:2]) if " ".join(command[:2]) in known else command[0]
            flags = {flag for action in known[words]._actions for flag in action.option_strings}
            assert {word for word in command if word.startswith("--")} <= flags, shlex.join(command)
        assert one.results.is_relative_to(tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_of_a_cell_and_has_a_source(name: str) -> None:
    table = TABLES[name]
    assert table["published"]
    for each in table["published"]:
        assert each["source"]
        assert each["verified"] == ("recalled" not in each["source"] and "summary" not in each["source"])
        for setting, rows in each["values"].items():
            assert setting in [*table["settings"], run.ALL_SETTINGS]
            assert set(rows) <= {*table["rows"], run.AVERAGE}
            for metrics in rows.values():
                assert set(metrics) <= set(table["measured"])
                assert all(0 < value < 100 for value in metrics.values())


@pytest.mark.parametrize("name", ["cocoop", "kgcoop", "prograd", "maple", "promptsrc", "tcp"])
def test_averages_are_those_of_the_rows(name: str) -> None:
    """The papers' averages over the eleven data sets, and the harmonic mean of the averages."""
    table = TABLES[name]
    cells = {
        metric: [run.published(table, "16", row, metric)[0].value for row in table["rows"]]
        for metric in ("base", "new")
    }
    average = {metric: run.published(table, "16", run.AVERAGE, metric)[0].value for metric in table["measured"]}
    for metric, values in cells.items():
        assert len(values) == len(PUBLISHED_DATASETS)
        assert sum(values) / len(values) == pytest.approx(average[metric], abs=0.011)
    harmonic = 2 * average["base"] * average["new"] / (average["base"] + average["new"])
    assert average["harmonic mean"] == pytest.approx(harmonic, abs=0.02)


def test_the_rows_are_the_data_sets_of_the_papers() -> None:
    assert list(TABLES["coop"]["rows"]) == list(PUBLISHED_DATASETS)


def test_measured_numbers_stand_next_to_published_ones(
    data: Path, modern_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--num_train_epochs", "1", "--n_ctx", "2", "--seeds", "1", "--per_device_train_batch_size", "4"]
    command = ["coop", "--data_dir", str(data), "--output_dir", str(tmp_path), "--rows", "oxford_pets"]
    command += ["--settings", "1", "--backbone", str(modern_clip), "--", *flags, "--disable_tqdm", "true"]
    assert run.main(command) == 0
    printed = capsys.readouterr().out
    assert "$ hf-prompt train coop --backbone" in printed
    results = json.loads((tmp_path / "coop" / "oxford_pets" / "1" / "results.json").read_text())
    measured = 100 * results["accuracy"]["mean"]
    (line,) = [line for line in printed.splitlines() if line.startswith("oxford_pets") and " accuracy " in line]
    assert line.split()[:6] == [
        "oxford_pets",
        "1",
        "accuracy",
        f"{measured:.2f}",
        "85.89*",
        f"{measured - 85.89:+.2f}",
    ]
    assert "* recalled, and not verified" in printed
    assert run.main(command) == 0  # nothing is run again
    assert "$ hf-prompt" not in capsys.readouterr().out


def test_missing_data_are_named_before_anything_is_run(data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "tcp", "--data_dir", str(data), "--output_dir", str(tmp_path / "runs")]
    done = run_program(command)
    assert done.returncode == 1
    assert done.stdout == ""
    expected = f"error: There is no {data / 'imagenet'} and 9 other paths, which imagenet needs. Put into --data_dir: "
    assert done.stderr.startswith(expected)
    assert not (tmp_path / "runs").exists()


def test_the_program_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run.main(["--help"])
    assert "--data_dir" in capsys.readouterr().out
    assert run.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: " in listed for name in [*TABLES, "frozen", "mantis", "cpt"])
    with pytest.raises(SystemExit, match=r"has no row 'cifar'\. It has imagenet"):
        run.main(["coop", "--data_dir", "d", "--output_dir", "o", "--rows", "cifar"])
    assert run.main(["maple", "--data_dir", "d", "--output_dir", "o", "--rows", "dtd", "--dry_run"]) == 0
    assert capsys.readouterr().out.startswith("hf-prompt train maple --backbone openai/clip-vit-base-patch16")


def test_averages_are_shown_when_all_rows_are_measured() -> None:
    table = TABLES["tcp"]
    cells = {("16", row): {"base": 80.0, "new": 60.0, "harmonic mean": 68.0} for row in table["rows"]}
    lines = [" ".join(line.split()) for line in run.lay_out(table, cells).splitlines()]
    assert any(line.startswith("average 16 harmonic mean 68.57 79.51 -10.94 tables in") for line in lines)
    del cells["16", "dtd"]
    assert "average" not in run.lay_out(table, cells)


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    (one,) = run.runs_of(TABLES["tcp"], arguments("tcp", tmp_path, rows=["dtd"]))
    assert one.seeds() == ["1", "2", "3"]
    assert not one.is_interrupted()
    (one.results.parent / "seed-1").mkdir(parents=True)
    (one.results.parent / "seed-1" / "run.json").write_text("{}")
    one.results.write_text(json.dumps({"seeds": {"1": {}}}))
    assert one.is_interrupted()
    one.results.write_text(json.dumps({"seeds": {"1": {}, "2": {}, "3": {}}}))
    assert one.is_complete()
    assert not one.is_interrupted()
