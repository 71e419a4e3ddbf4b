"""`hf-prompt compare`: same samples for all methods, numbers that can be counted again, and resuming."""

import csv
import json
import shlex
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_cli.main import main
from hf_prompt_models.modeling_text_prompt_utils import TextPromptModel
from hf_prompt_models.tasks.arguments import parse_time
from hf_prompt_models.tasks.image_classification.comparison import compare as comparing
from hf_prompt_models.tasks.image_classification.comparison.cells import Cell, CellRunner
from hf_prompt_models.tasks.image_classification.comparison.cost import Cost, total_seconds, within_budget
from hf_prompt_models.tasks.image_classification.comparison.methods import all_methods, methods_named
from hf_prompt_models.tasks.report import write_report
from hf_prompt_models.tasks.results import read_results
from hf_prompt_models.training.feature_cache import FeatureCache
from tests.docs.running import short_trainings
from tests.pictures import write_pictures


METHODS, SHOTS, SEEDS = ("clap", "tip_adapter"), (1, 2), (1, 2)
CLASSES = {"red": 3, "green": 3, "blue": 3, "grey": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "train", CLASSES)
    write_pictures(folder / "test", dict.fromkeys(CLASSES, 5), seed=1)
    return folder


@pytest.fixture(scope="module")
def command(data: Path) -> Callable[..., list[str]]:
    def words(output_dir: Path, *more: str, methods: tuple[str, ...] = METHODS) -> list[str]:
        flags = f"--train_dir {data / 'train'} --test_dir {data / 'test'} --feature_cache {data / 'cache'}"
        flags += f" --backbone playground --num_workers 1 --disable_tqdm --resamples 200 --output_dir {output_dir}"
        named = f" --methods {' '.join(methods)} --shots 1 2 --seeds 1 2" if methods else ""
        return ["compare", *shlex.split(flags + named), *more]

    return words


@pytest.fixture(scope="module")
def compared(command: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "all"
    assert main(command(folder)) == 0
    return folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def without_times(folder: Path) -> dict[str, Any]:
    value = {k: v for k, v in results(folder).items() if k not in ("command", "estimated_seconds")}
    for of_method in value["methods"].values():
        for of_shots in of_method.values():
            del of_shots["seconds"]
    return value


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def counted(path: Path) -> float:
    rows = rows_of(path)
    return sum(row["label"] == row["predicted_label"] for row in rows) / len(rows)


def test_every_accuracy_can_be_counted_from_the_predictions(compared: Path) -> None:
    found, report = results(compared), (compared / "report.md").read_text(encoding="utf-8")
    assert found["zero_shot"]["test"] == counted(compared / "zero_shot_predictions.csv")
    for method in METHODS:
        cells = []
        for shots in SHOTS:
            files = [compared / "runs" / method / f"shots-{shots}" / f"seed-{s}" / "predictions.csv" for s in SEEDS]
            values = [counted(file) for file in files]
            cell = found["methods"][method][str(shots)]
            assert cell["by_seed"]["test"] == pytest.approx(values)
            assert cell["test"]["mean"] == pytest.approx(statistics.mean(values))
            cells.append(f"{100 * statistics.mean(values):.2f} ± {100 * statistics.pstdev(values):.2f}")
        (line,) = [line for line in report.splitlines() if line.startswith(f"| {method} |") and "±" in line]
        assert [cell.strip().removesuffix(" ≈") for cell in line.split("|")[2:-1]] == cells
    assert (compared / "accuracy_by_shots.png").is_file()


def test_all_methods_are_trained_on_the_same_samples(compared: Path) -> None:
    for seed in SEEDS:
        drawn: dict[int, list[set[str]]] = {shots: [] for shots in SHOTS}
        for method in METHODS:
            for shots in SHOTS:
                file = compared / "runs" / method / f"shots-{shots}" / f"seed-{seed}" / "few_shot.json"
                classes = json.loads(file.read_text(encoding="utf-8"))["classes"]
                drawn[shots].append({image for each in classes for image in each["images"]})
        assert drawn[1][0] == drawn[1][1] < drawn[2][0] == drawn[2][1]
        assert len(drawn[2][0]) == 2 * len(CLASSES)


def test_a_cell_is_the_run_of_its_train_command(compared: Path, tmp_path: Path) -> None:
    cell = compared / "runs" / "tip_adapter" / "shots-2" / "seed-2"
    typed = shlex.split(results(cell)["command"])
    typed[typed.index("--output_dir") + 1] = str(tmp_path / "run")
    assert main([*typed[1:], "--disable_tqdm", "true"]) == 0
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (cell / "predictions.csv").read_bytes()


def test_gains_of_classes_and_changed_images_are_those_of_the_predictions(compared: Path) -> None:
    before = {row["image"]: row for row in rows_of(compared / "zero_shot_predictions.csv")}
    after = [
        {
            row["image"]: row
            for row in rows_of(compared / "runs" / "clap" / "shots-2" / f"seed-{s}" / "predictions.csv")
        }
        for s in SEEDS
    ]
    found = {
        row["class"]: row
        for row in rows_of(compared / "classes.csv")
        if (row["method"], row["shots"]) == ("clap", "2")
    }
    for name in CLASSES:
        images = [image for image, row in before.items() if row["class"] == name]
        was = sum(before[image]["predicted_class"] == name for image in images) / len(images)
        now = (
            sum(run[image]["predicted_class"] == name for run in after for image in images) / len(images) / len(after)
        )
        assert float(found[name]["gain"]) == pytest.approx(now - was, abs=1e-4)
    changed = {
        row["image"]: row
        for row in rows_of(compared / "changed_images.csv")
        if (row["method"], row["shots"]) == ("clap", "2")
    }
    differing = {
        image
        for image, row in before.items()
        if any(row["predicted_label"] != run[image]["predicted_label"] for run in after)
    }
    assert set(changed) == differing
    for image, row in changed.items():
        assert [row["seed_1"], row["seed_2"]] == [run[image]["predicted_class"] for run in after]


def test_the_same_command_keeps_complete_cells_and_the_report(
    compared: Path, command: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    report = (compared / "report.md").read_bytes()
    monkeypatch.setattr(CellRunner, "run", lambda *_: pytest.fail("a complete cell was run again"))
    assert main(command(compared)) == 0
    assert (compared / "report.md").read_bytes() == report
    assert "All 8 cells are complete." in capsys.readouterr().err


def test_a_comparison_that_was_killed_and_repeated_gives_the_same_table(
    compared: Path, command: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output_dir, original = tmp_path / "killed", CellRunner.run
    done: list[Cell] = []

    def killed(runner: CellRunner, cell: Cell) -> None:
        original(runner, cell)
        done.append(cell)
        if len(done) == 3:
            (cell.folder(output_dir) / "cell.json").unlink()  # killed before the last file of the cell
            (cell.folder(output_dir) / "predictions.csv").write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(CellRunner, "run", killed)
        with pytest.raises(SystemExit, match="130"):
            main(command(output_dir))
    assert not (output_dir / "report.md").exists()
    assert main(command(output_dir)) == 0
    assert without_times(output_dir) == without_times(compared)
    accuracy = (output_dir / "report.md").read_text(encoding="utf-8").partition("## Time and size")[0]
    assert (compared / "report.md").read_text(encoding="utf-8").startswith(accuracy)


def test_another_setting_is_refused(compared: Path, command: Callable[..., list[str]]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(command(compared, "--templates", "a drawing of a {}."))
    assert "contains a comparison with other settings: templates the default then" in str(stop.value)


def test_cells_compute_no_features_and_encode_hand_written_prompts_once(
    data: Path, command: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, computed, original = [], [], CellRunner.run

    def counting(runner: CellRunner, cell: Cell) -> None:
        with monkeypatch.context() as patched:
            run_prompts, write = TextPromptModel._run_prompts, FeatureCache.write
            patched.setattr(TextPromptModel, "_run_prompts", lambda *a: encoded.append(cell) or run_prompts(*a))
            patched.setattr(FeatureCache, "write", lambda *a: computed.append(cell) or write(*a))
            original(runner, cell)

    monkeypatch.setattr(CellRunner, "run", counting)
    words = command(tmp_path / "out", methods=("clip_adapter", "clap", "prolip"))
    words[words.index("--feature_cache") + 1] = str(tmp_path / "cache")
    assert main(words) == 0
    assert not computed
    assert len(encoded) <= 1


def test_methods_can_be_added_without_running_complete_cells_again(
    compared: Path, command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(compared, tmp_path / "more")
    kept = (tmp_path / "more/runs/clap/shots-1/seed-1/cell.json").stat().st_mtime_ns
    assert main(command(tmp_path / "more", "--feature_cache", "off", methods=("clap", "taskres"))) == 0
    assert "4 are complete from an earlier run" in capsys.readouterr().err
    assert (tmp_path / "more/runs/clap/shots-1/seed-1/cell.json").stat().st_mtime_ns == kept
    assert list(results(tmp_path / "more")["methods"]) == ["clap", "taskres"]
    assert not (tmp_path / "more/features").exists()


def test_a_report_reads_the_runs_of_a_comparison_and_not_its_table(compared: Path, tmp_path: Path) -> None:
    runs = read_results([compared])
    assert len(runs) == len(METHODS) * len(SHOTS) * len(SEEDS)
    assert "adapter_type=tip_adapter" in write_report(runs, tmp_path).replace(" ", "=")


def test_base_to_new_reports_both_halves_and_their_harmonic_mean(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output_dir = tmp_path / "b2n"
    with short_trainings():
        assert main(command(output_dir, "--protocol", "base-to-new", methods=("clip_adapter", "coop"))) == 0
    found = results(output_dir)["methods"]["coop"]["1"]
    for base, new, mean in zip(*(found["by_seed"][test] for test in ("base", "new", "H")), strict=True):
        assert mean == pytest.approx(2 * base * new / (base + new) if base + new else 0)
    report = (output_dir / "report.md").read_text(encoding="utf-8")
    assert "## Accuracy, harmonic mean" in report
    assert "coop: trained on stored features of 4 random crops of each image" in report
    assert results(output_dir / "runs/coop/shots-1/seed-1")["arguments"]["augmented_views"] == 4
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"clap: .*trained for its 2 classes"):
        main(command(tmp_path / "fixed", "--protocol", "base-to-new", methods=("clap",)))


def test_methods_that_do_not_fit_the_time_are_left_out_and_named(
    command: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def estimate(
        runner: CellRunner, methods: Any, shots: Any, seeds: Any
    ) -> tuple[dict[str, Cost], dict[str, Exception]]:
        seconds = {"clap": 1.0, "tip_adapter": 2.0, "coop": 500.0}
        costs = {name: Cost(dict.fromkeys(shots, value), "", 0.0) for name, value in seconds.items()}
        return costs, {"maple": ValueError("MaPLe needs other data.")}

    monkeypatch.setattr(comparing, "estimate", estimate)
    arguments = command(tmp_path / "out", "--seeds", "1", "--time_budget", "10s", methods=())
    assert main(arguments) == 0
    said = capsys.readouterr().err
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "Comparing zero_shot, clap, tip_adapter." in said
    assert "Left out coop: about 17 min alone, more than is left of --time_budget. Add it with --methods coop." in said
    assert "Left out maple: MaPLe needs other data. `hf-prompt train maple --help` shows its flags." in said
    assert "Left out 4 shots: a class has 3 training images." in said
    assert "- coop: about 17 min alone, more than is left of --time_budget. Add it with --methods coop." in report


def test_the_methods_that_fit_are_the_cheapest_which_share_features() -> None:
    costs = {
        "a": Cost({1: 1.0, 2: 3.0}, "views", 10.0),
        "b": Cost({1: 2.0, 2: 3.0}, "views", 10.0),
        "c": Cost({1: 1.0, 2: 1.0}, "others", 20.0),
        "d": Cost({1: 90.0, 2: 90.0}, "", 0.0),
    }
    assert total_seconds([costs["a"], costs["b"]], seeds=2, workers=1) == 10 + 2 * (4 + 5)
    assert total_seconds([costs["d"]], seeds=1, workers=4) == 90  # the longest cell cannot be shared
    assert within_budget(costs, seeds=2, workers=1, budget=28) == ["a", "b"]
    assert within_budget(costs, seeds=2, workers=1, budget=52) == ["a", "b", "c"]


def test_the_precision_of_the_image_encoder_applies_to_all_cells(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*command(tmp_path / "all", "--bf16", "true", methods=("clap",))]) == 0
    for path in (tmp_path / "all" / "runs" / "clap" / "shots-1").glob("seed-*/results.json"):
        assert "--bf16 true" in json.loads(path.read_text(encoding="utf-8"))["command"]
    with pytest.raises(SystemExit, match="bf16"):
        main([*command(tmp_path / "all", "--bf16", "false", methods=("clap",))])


def test_methods_are_named_as_in_train_and_by_type() -> None:
    assert [each.name for each in methods_named(["feature_adapter:lp++", "zero_shot", "coop"])] == ["lp++", "coop"]
    assert methods_named(["feature_adapter"]) == methods_named(["clap"])
    assert {"clap", "linear", "tip_adapter_f", "prolip", "kgcoop", "clip_lora"} <= set(all_methods())
    with pytest.raises(ValueError, match=r"There is no method .klap.\. Choose from zero_shot, "):
        methods_named(["klap"])
    with pytest.raises(ValueError, match="--methods names clap twice"):
        methods_named(["clap", "feature_adapter:clap"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800), ("300", 300)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["1.2.3s", "m", "0s", "5 m", "1d"])
def test_other_texts_are_not_times(text: str) -> None:
    with pytest.raises(ValueError, match="such as 5m, 90s or 1h30m"):
        parse_time(text)


@pytest.mark.slow
def test_the_table_does_not_depend_on_the_number_of_processes(
    compared: Path, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert main(command(tmp_path / "two", "--num_workers", "2")) == 0
    assert without_times(tmp_path / "two") == without_times(compared)
