"""The benchmark's arms compute the same."""

import argparse
import re
from pathlib import Path

import pytest

from hf_prompt_models.models.cpt import benchmark_cpt


def run(*flags: str) -> str:
    parser = argparse.ArgumentParser()
    benchmark_cpt.add_arguments(parser)
    return "\n".join(benchmark_cpt.run(parser.parse_args(flags)))


def test_both_arms_give_the_same_scores(vilt: Path) -> None:
    table = run("--backbone", str(vilt), "--regions", "2", "7", "--size", "90", "60")
    rows = re.findall(r"^\| +(\d+) \|.*\| +([\d.e+-]+) \|$", table, re.MULTILINE)
    assert [count for count, _ in rows] == ["2", "7"]
    assert all(float(difference) < 1e-4 for _, difference in rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--colors", "7"], "between 1 and 6"), (["--regions", "0"], "--regions is at least 1")],
)
def test_numbers_that_make_no_sense_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(*flags)


def test_another_backbone_is_refused(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="is a CLIPModel"):
        run("--backbone", str(openai_clip))
