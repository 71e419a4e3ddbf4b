"""`hf-prompt demo`: its commands exist, equal those of the Makefile, and a short one runs to the end."""

import re
import shlex
from pathlib import Path

import pytest

from hf_prompt_cli.commands import demo
from hf_prompt_cli.main import main, parsers
from hf_prompt_cli.parsing import parse


@pytest.mark.parametrize("kind", demo.KINDS)
def test_commands_of_a_demo_are_ones_that_can_be_typed(kind: str) -> None:
    known = parsers()
    for words in demo.commands(kind, "some where"):
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        parse(known[name], words[len(name.split()) :])
        assert any(word.startswith("some where/") for word in words)
    pictures, model = demo.LOOK_AT[kind]
    assert pictures
    assert any(f"some where/{model}" in words for words in demo.commands(kind, "some where"))
    announced = demo.announcement(kind, "some where")
    assert re.match(r"This takes about .* minutes? on two CPU cores, and writes some where/", announced)
    for picture in pictures:  # each is in a folder, or is a file, that was announced
        assert any(f"some where/{part}" in announced for part in (picture, picture.partition("/")[0]))
    methods = {words[-3]: words[1] for words in demo.commands(kind, "some where") if words[0] == "train"}
    files = {"mantis": {"written.png"}, "cpt": {"answers.png", "zero_shot_answers.png"}, "alpro": {"answers.png"}}
    for picture in pictures:
        folder, _, file = picture.partition("/")
        if (method := methods.get(f"some where/{folder}")) is not None:
            assert file in files.get(method, {"confusion_matrix.png", "learning_curve.png"})


def test_the_makefile_runs_the_same_demos() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"hf-prompt demo (\w+) --output_dir \$\(DEMO\)\n", makefile) == list(demo.KINDS)


def test_a_demo_shows_its_commands_and_reports_what_to_look_at_and_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = demo.KINDS["images"].replace("--seed 1", "--seed 1 --train_per_class 2 --test_per_class 1")
    short = short.replace("--shots 16", "--shots 1 --max_steps 2 --disable_tqdm true")
    monkeypatch.setitem(demo.KINDS, "images", short)
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    printed = capsys.readouterr().out
    typed = [shlex.split(line) for line in re.findall(r"^\$ hf-prompt (.*)$", printed, re.MULTILINE)]
    assert [words[0] for words in typed] == ["make_playground", "train", "predict"]
    looked, _, last = printed.rpartition("Look at:")[2].strip().rpartition("\n")
    assert all(Path(line.strip()).exists() for line in looked.splitlines())
    assert last == "Then open the web page: hf-prompt app hf-prompt-demo/coop"
    assert "Predict with: hf-prompt predict hf-prompt-demo/coop photo.jpg" in printed
