"""report.py on results, as run by a user."""

import json
import runpy
from pathlib import Path

import pytest

from tests.tasks.test_report import few_shot, write


SCRIPT = Path(__file__).parents[2] / "scripts" / "report.py"


def test_the_report_is_printed_and_is_next_to_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"pets": few_shot("OxfordPets", 4, 0.9), "dtd": few_shot("DTD", 4, 0.5)})
    main = runpy.run_path(str(SCRIPT))["main"]
    main([str(tmp_path / "pets" / "results.json"), str(tmp_path / "dtd")])
    printed = capsys.readouterr().out
    assert "| CoOp, 4 shots | 90.00 ± 1.00 | 50.00 ± 1.00 | 70.00 |" in printed
    assert (tmp_path / "pets" / "report.md").is_file()
    main([str(tmp_path), "--output_dir", str(tmp_path / "out")])
    assert "| CoOp, 4 shots |" in (tmp_path / "out" / "report.md").read_text()


def test_a_file_that_is_no_result_ends_the_script_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"score": 3}))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPT))["main"]([str(tmp_path)])
    assert str(stop.value.code).startswith(
        f"error: {tmp_path / 'results.json'} is not a result that `hf-prompt train` wrote"
    )
