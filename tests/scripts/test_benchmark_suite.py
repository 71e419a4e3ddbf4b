"""The suite of benchmarks measures on a quiet machine, records what it measured, and makes the tables of the page."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks import suite
from scripts.benchmarks.features import draw_photos
from scripts.benchmarks.main import main
from scripts.benchmarks.quiet import CoreWatch
from scripts.benchmarks.suite import PAGE, ROWS, tables_of, with_tables


MARKDOWN = """2 threads.

### Image features

| shapes | times faster | times faster |
| -----: | -----------: | -----------: |
|      a |          2.0 |          3.0 |
|      b |          4.0 |              |"""


def test_tables_are_recorded_by_heading_and_column() -> None:
    assert tables_of(MARKDOWN) == [
        {
            "heading": "Image features",
            "rows": [
                {"shapes": "a", "times faster": "2.0", "times faster (2)": "3.0"},
                {"shapes": "b", "times faster": "4.0", "times faster (2)": ""},
            ],
        }
    ]
    assert tables_of("| x |\n| -: |\n| 1 |") == [{"heading": None, "rows": [{"x": "1"}]}]


FEATURES = "features --precisions float32"


def measured_row(**changes: Any) -> dict[str, Any]:
    return {
        "date": "2026-12-01",
        "seconds": 2.0,
        "cores_used_by_others": 0.02,
        "is_quiet": True,
        "tables": tables_of(MARKDOWN),
        "markdown": MARKDOWN,
    } | changes


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of the benchmarks that would be run."""
    ran: list[str] = []

    def measured(argv: list[str]) -> dict[str, Any]:
        ran.append(" ".join(argv))
        return measured_row()

    monkeypatch.setattr(suite, "measured", measured)
    monkeypatch.setattr(suite, "other_cores", lambda: 0.0)
    monkeypatch.setattr(suite, "matmul_rate", lambda dtype=None: 1.5e11)
    monkeypatch.setattr(suite, "has_native_bfloat16", lambda device: True)
    return ran


def test_results_are_kept_and_not_measured_twice(commands: list[str], tmp_path: Path, capsys) -> None:
    flags = ["all", "--json", str(tmp_path / "bench.json"), "--rows", "features", "import"]
    main(flags)
    assert commands == [FEATURES, "import"]
    results = json.loads((tmp_path / "bench.json").read_text())
    assert results["rows"]["features"]["command"] == f"python scripts/benchmark.py {FEATURES}"
    machine = results["machine"]
    assert (machine["float32_gflops"], machine["bfloat16_gflops"]) == (150.0, 150.0)
    assert set(machine) >= {"processor", "cores", "torch", "transformers", "native_bfloat16"}
    main(flags)
    assert commands == [FEATURES, "import"]
    main([*flags, "--again"])
    assert commands == [FEATURES, "import"] * 2
    main([*flags, "--threads", "1"])  # another command
    assert commands[4:] == [f"{FEATURES} --threads 1", "import --threads 1"]
    capsys.readouterr()


def test_nothing_is_measured_while_others_use_the_machine(
    commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(suite, "other_cores", lambda: 1.24)
    monkeypatch.setattr(suite, "WAIT_SECONDS", 0)
    flags = ["all", "--json", str(tmp_path / "bench.json"), "--rows", "import"]
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert "Other processes use 1.2 cores" in str(stop.value.code) + capsys.readouterr().err
    assert not commands
    main([*flags, "--allow_busy"])
    assert commands == ["import"]


def test_work_of_others_is_told_from_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, own = iter([100.0, 103.0]), iter([10.0, 11.0])
    clock = iter([0.0, 4.0])
    monkeypatch.setattr("scripts.benchmarks.quiet.machine_seconds", lambda: next(machine))
    monkeypatch.setattr("scripts.benchmarks.quiet.own_seconds", lambda: next(own))
    monkeypatch.setattr("scripts.benchmarks.quiet.time.monotonic", lambda: next(clock))
    with CoreWatch() as watch:
        pass
    assert watch.others == 0.5
    assert not watch.is_quiet


def test_own_work_does_not_count() -> None:
    from scripts.benchmarks.quiet import machine_seconds, own_seconds

    machine, own = machine_seconds(), own_seconds()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert own_seconds() - own == pytest.approx(0.3, abs=0.1)
    assert machine_seconds() - machine > 0.2


def test_the_page_has_the_tables_with_command_date_and_machine() -> None:
    page = "# P\n\n<!-- measured: features -->\nold\n<!-- end -->\n\n<!-- measured: import -->\nkept\n<!-- end -->\n"
    machine = {"processor": "AMD EPYC", "cores": 2, "float32_gflops": 190.0, "bfloat16_gflops": 410.5}
    results = {"machine": machine, "rows": {"features": measured_row(command="python scripts/benchmark.py features")}}
    made = with_tables(page, results)
    assert "old" not in made
    assert "kept" in made
    assert "```bash\npython scripts/benchmark.py features\n```" in made
    assert "2026-12-01, AMD EPYC, 2 cores, 190 GFLOP/s in float32 and 410.5 in bfloat16" in made
    assert "|      a |          2.0 |          3.0 |" in made
    assert "Other processes" not in made
    assert with_tables(made, results) == made
    busy = measured_row(command="c", is_quiet=False, cores_used_by_others=0.8)
    assert "**Other processes used 0.8 cores.**" in with_tables(page, {"machine": machine, "rows": {"features": busy}})
    without = results | {"machine": machine | {"bfloat16_gflops": None}}
    assert "190 GFLOP/s in float32 (products of 2048 x 2048 matrices), no instructions for bfloat16." in with_tables(
        page, without
    )
    several = results | {"rows": {name: measured_row(command=f"c {name}") for name in ("maple", "tcp")}}
    made = with_tables("<!-- measured: maple + tcp -->old<!-- end -->", several)
    assert "```bash\nc maple\nc tcp\n```" in made
    assert re.findall(r"\| +(maple|tcp) \| +(a|b) \|", made) == [
        (name, row) for name in ("maple", "tcp") for row in "ab"
    ]
    with pytest.raises(ValueError, match="'nothing', which is no benchmark"):
        with_tables("<!-- measured: nothing --><!-- end -->", results)


def test_the_page_has_a_place_for_each_row() -> None:
    places = re.findall(r"<!-- measured: (.+?) -->.*?<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sorted(name for place in places for name in place.split(" + ")) == sorted(row.name for row in ROWS)


def test_tiny_sizes_do_not_reach_the_page(commands: list[str], tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["all", "--quick", "--page", "--json", str(tmp_path / "bench.json"), "--rows", "import"])
    assert "--page" in str(stop.value.code) + capsys.readouterr().err
    page = tmp_path / "page.md"
    page.write_text("<!-- measured: import --><!-- end -->")
    main(
        ["all", "--quick", "--page", "--page_file", str(page), "--json", str(tmp_path / "b.json"), "--rows", "import"]
    )
    assert "times faster" in page.read_text()
    capsys.readouterr()


def test_extraction_is_measured_next_to_the_tower_and_a_plain_loop(capsys: pytest.CaptureFixture) -> None:
    main(
        [
            "features",
            "--images",
            "4",
            "--batch_size",
            "2",
            "--backbones",
            "playground",
            "--repeats",
            "1",
            "--size",
            "60",
            "50",
        ]
    )
    (table,) = tables_of(capsys.readouterr().out)
    full, half = table["rows"]
    assert (full["precision"], half["precision"]) == ("float32", "bfloat16")
    assert min(float(full[name]) for name in full if name.endswith("images/s")) > 0
    assert abs(float(full["largest cosine distance"])) < 1e-12  # of features from themselves: rounding
    assert 0 < float(half["largest cosine distance"]) < 1e-2


@pytest.mark.slow
def test_our_runs_are_timed_with_all_epochs(tmp_path: Path) -> None:
    import argparse

    from scripts.benchmarks.whole_run import our_seconds, reference_seconds, save_backbone

    draw_photos(tmp_path / "train", 2, 2, (50, 40))
    draw_photos(tmp_path / "test", 2, 1, (50, 40), seed=1)
    save_backbone("playground", tmp_path / "backbone")
    arguments = argparse.Namespace(shots=2, epochs=100000, measured_steps=1, seeds=1)
    flags = ["coop", "--n_ctx", "2", "--augmented_views", "1", "--feature_cache", str(tmp_path / "cache")]
    assert our_seconds(tmp_path, flags, arguments, 1, 2) > 100  # 99999 of the epochs are estimated
    assert any((tmp_path / "cache").iterdir())
    assert reference_seconds(tmp_path, arguments) > 100


@pytest.mark.slow
@pytest.mark.parametrize("row", [row.name for row in ROWS])
def test_each_benchmark_runs_at_tiny_sizes(row: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main(["all", "--quick", "--allow_busy", "--json", str(tmp_path / "bench.json"), "--rows", row])
    found = json.loads((tmp_path / "bench.json").read_text())["rows"][row]
    assert found["tables"]
    assert found["cores_used_by_others"] >= 0
    capsys.readouterr()
