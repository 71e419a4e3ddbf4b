"""The benchmark of `hf-prompt train auto` compares its estimate and its choice with test images."""

from pathlib import Path

import pytest

from scripts.benchmarks.main import main


def test_the_interval_and_all_candidates_are_tested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "auto.md"
    flags = ["--shots", "2", "--test_images", "24", "--repetitions", "1", "--methods", "zero-shot", "tip_adapter"]
    assert main(["auto", *flags, "--feature_cache", str(tmp_path / "cache"), "--output", str(output)]) == 0
    written = output.read_text()
    assert "The interval covers the test accuracy in " in written
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines() if "|" in line]
    (repetition, _) = [row for row in rows if row[0] == "1" and len(row) == 8]  # as it is printed, and in the table
    low, high, test = (float(repetition[place]) for place in (3, 4, 5))
    assert (repetition[6] == "yes") == (low <= test <= high)
    means = {row[0]: row[1] for row in rows if len(row) == 2}
    assert {"auto", "tip_adapter, default prompt", "zero-shot, waffle"} <= means.keys()

    capsys.readouterr()
    assert main(["auto", *flags[:-1], "--choice_only", "--feature_cache", str(tmp_path / "cache")]) == 0
    printed = capsys.readouterr().out
    assert "zero-shot, waffle" in printed
    assert "The interval" not in printed
