"""A console with a limited character set, or a closed output, does not lose results."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

import pytest

from hf_prompt_cli.commands import predict
from hf_prompt_cli.console import CLOSED_PIPE
from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification
from hf_prompt_models.playground import CLIP_DIR, draw_example
from hf_prompt_models.utils.files import write_json


NAMES = ["clé 🔑", "чашка"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, NAMES).save_pretrained(folder)
    for name in ("a.png", "b.png"):
        (folder / "photos").mkdir(exist_ok=True)
        draw_example("key", "test", seed=0, index=0).save(folder / "photos" / name)
    return str(folder)


class Console:
    """A standard output of a given encoding that records what is printed."""

    def __init__(self, encoding: str):
        self.bytes = io.BytesIO()
        self.stream = io.TextIOWrapper(self.bytes, encoding=encoding)

    def run(self, *words: str) -> None:
        with redirect_stdout(self.stream):
            main(words)

    def text(self) -> str:
        self.stream.flush()
        return self.bytes.getvalue().decode(self.stream.encoding)


@pytest.fixture(params=["ascii", "cp1252", "cp1251", "utf-8"])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(request.param)


def test_what_an_encoding_lacks_is_printed_as_escapes_and_the_table_has_it(
    model: str, console: Console, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    console.run("predict", model, f"{model}/photos", "--csv", str(table))
    encoding = console.stream.encoding
    assert NAMES[1].encode(encoding, "backslashreplace").decode(encoding) in console.text()
    with table.open(encoding="utf-8", newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(NAMES)


def test_json_stays_json_in_every_encoding(model: str, console: Console) -> None:
    console.run("predict", model, f"{model}/photos/a.png", "--json")
    (entry,) = json.loads(console.text())
    assert {each["label"] for each in entry["predictions"]} == set(NAMES)


def test_json_of_a_file_name_that_is_no_text(model: str, console: Console, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    draw_example("key", "test", seed=0, index=0).save(name)
    console.run("predict", model, name, "--json")
    assert json.loads(console.text())[0]["image"] == name


@pytest.mark.parametrize("words", ["--help", "train --help", "train coop --help", "predict --help", "demo --help"])
def test_every_help_is_printed(words: str, console: Console) -> None:
    with suppress(SystemExit):  # argparse ends so
        console.run(*words.split())
    assert "usage" in console.text() or "hf-prompt" in console.text()


@contextmanager
def closed_output() -> Iterator[None]:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as stream, redirect_stdout(stream):
        yield


@pytest.mark.parametrize("words", ["predict {0} {0}/photos --csv {1}/t.csv", "predict {0} {0}/photos/a.png", "--help"])
def test_a_closed_pipe_ends_quietly_after_the_table_is_written(
    words: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with closed_output(), pytest.raises(SystemExit) as stop:
        main(words.format(model, tmp_path).split())
    assert stop.value.code == CLOSED_PIPE
    assert "rror" not in capsys.readouterr().err
    assert (tmp_path / "t.csv").is_file() == ("--csv" in words)


@pytest.mark.parametrize("length", [10, 10**5, 10**7])
def test_long_output_into_a_closed_pipe_ends_quietly(
    length: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(predict, "predict", lambda *arguments: print("x" * length))
    with closed_output(), pytest.raises(SystemExit) as stop:
        main(["predict", "model", "photo.png", "--json"])
    assert (stop.value.code, capsys.readouterr().err) == (CLOSED_PIPE, "")


def test_without_a_standard_output_commands_do_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert main(["--help"]) == 0
    monkeypatch.setattr(predict, "predict", lambda *arguments: print("done"))
    assert main(["predict", "model", "photo.png"]) == 0
    sys.stdout.close()


def test_an_error_keeps_its_message_and_code_when_the_pipe_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        print("printed before")
        raise ValueError("It is damaged.")

    monkeypatch.setattr(predict, "predict", fail)
    with closed_output(), pytest.raises(SystemExit, match="error: It is damaged"):
        main(["predict", "model", "none.png"])


def test_a_file_name_that_is_no_text_is_kept_in_json_files(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    write_json(tmp_path / "results.json", {"image": name, "class": "чашка"})
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == {"image": name, "class": "чашка"}


def test_more_answers_than_classes_are_reported(model: str, capsys: pytest.CaptureFixture) -> None:
    main(["predict", model, f"{model}/photos/a.png", "--top_k", "9", "--json"])
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)[0]["predictions"]) == 2
    assert "--top_k is 9, but the model has only 2 classes" in captured.err
