"""Scores of generated descriptions of product cards."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.playground.card_scores import compare_runs, score_cards
from hf_prompt_models.playground.product_cards import write_card_folder


SCRIPT = Path(__file__).parents[2] / "scripts" / "make_playground.py"
LAMP, CUP = "this is a small red lamp made of wood.", "this is a large blue cup made of wool."


def test_an_attribute_is_right_if_its_word_is_reported_and_no_other_one_for_it() -> None:
    written = ["This is a large red lamp made of stone.", "a blue and red cup, made of wool: large, large!"]
    scores = score_cards(written, [LAMP, CUP])
    assert scores == {
        "colour": 0.5,
        "material": 0.5,
        "object": 1.0,
        "size": 0.5,
        "cider_d": cider_d(written, [LAMP, CUP]),
    }


def test_what_is_not_named_is_not_right() -> None:
    assert score_cards(["a lamp", ""], [LAMP, CUP])["colour"] == 0.0


def _write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_scores_of_seeds_are_averaged(tmp_path: Path) -> None:
    rows = [{"references": [text]} for text in (LAMP, CUP)]
    right = _write(tmp_path / "1", [row | {"generated": row["references"][0]} for row in rows])
    wrong = _write(tmp_path / "2", [row | {"generated": "nothing"} for row in rows])
    scores = compare_runs([right, wrong], [wrong])
    assert (scores["seeing"]["colour"], scores["blind"]["colour"]) == (0.5, 0.0)


def test_the_script_prints_scores_and_writes_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_card_folder(tmp_path, seed=0, train=0, test=3)
    rows = [json.loads(line) for line in (tmp_path / "test/products.jsonl").read_text().splitlines()]
    written = [
        {"images": [row["image"]], "title": row["title"], "references": [row["description"]], "generated": text}
        for row, text in zip(rows, [row["description"] for row in rows], strict=True)
    ]
    seeing = _write(tmp_path / "seeing.jsonl", written)
    blind = _write(tmp_path / "blind.jsonl", [row | {"generated": "this is a red thing."} for row in written])
    flags = ["--seeing", seeing, "--blind", blind, "--images", str(tmp_path / "test")]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "score-cards", *flags, "--picture", str(tmp_path / "both.png")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["material"] == ["1.000", "0.000", "0.200"]
    with Image.open(tmp_path / "both.png") as image:
        assert image.width > 400
