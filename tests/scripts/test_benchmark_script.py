"""benchmark.py measures both arms, and they agree."""

import runpy
from pathlib import Path

import pytest


SCRIPTS = Path(__file__).parents[2] / "scripts"


def rows(markdown: str, heading: str) -> list[dict[str, str]]:
    """A table by its heading."""
    lines = markdown.split(f"### {heading}")[1].split("###")[0].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_both_arms_of_coop_agree_and_the_tables_are_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = "--classes 3 --n_ctx 2 --layouts end class-specific --repeats 1 --chunk 2 --steps 3 --batch_size 4"
    output = tmp_path / "performance.md"
    script = runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"]
    script(["coop", *flags.split(), "--parts", "text", "training", "--output", str(output)])
    markdown = output.read_text(encoding="utf-8")
    assert f"python scripts/benchmark.py coop {flags}" in markdown
    assert "Text side of a training step" in capsys.readouterr().out
    for row in rows(markdown, "Text side"):
        assert float(row["features differ"]) < 1e-5
        assert float(row["gradients differ"]) < 1e-5
        assert float(row["full-length MiB"]) > float(row["ours MiB"])
    for row in rows(markdown, "3 steps"):
        assert float(row["moved by"]) > 0.01
        assert float(row["contexts differ"]) < 1e-5


def test_methods_are_listed(capsys: pytest.CaptureFixture) -> None:
    script = runpy.run_path(str(SCRIPTS / "benchmark.py"))["main"]
    with pytest.raises(SystemExit, match="0"):
        script(["--help"])
    assert "coop" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no benchmark of clip_zero_shot"):
        script(["clip_zero_shot"])
