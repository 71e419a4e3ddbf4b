"""How the other commands end if they are interrupted, the input is bad, or the disk is full."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from hf_prompt_cli.commands import convert, evaluate, export, make_playground, predict, report
from hf_prompt_cli.ending import ending, in_a_line
from hf_prompt_cli.main import main
from hf_prompt_models import CptForVisualGrounding
from hf_prompt_models.playground import VILT_DIR
from tests.full_disk import full_disk
from tests.scripts.test_few_shot_scripts import data, run


__all__ = ["data", "run"]  # fixtures


def ended(argv: list[object]) -> Any:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in argv])
    return stop.value.code


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("module", "name", "argv", "said"),
    [
        (
            evaluate,
            "evaluate",
            ["evaluate", "mine", "--test_dir", "x"],
            "mine was not changed, and no results were written",
        ),
        (predict, "predict", ["predict", "mine", "x", "--csv", "t.csv"], "mine was not changed; not written: t.csv."),
        (
            predict,
            "predict",
            ["predict", "mine", "x"],
            "mine was not changed. Run the same command again to start over.",
        ),
        (export, "export", ["export", "mine", "--output", "m.onnx"], "mine and m.onnx were not changed."),
        (report, "write_report", ["report", "."], "The runs were not changed"),
        (make_playground, "make", ["make_playground", "images", "x"], "Run the same command again to start over."),
    ],
)
def test_a_stopped_command_reports_what_is_kept(
    module: Any,
    name: str,
    argv: list[str],
    said: str,
    number: signal.Signals,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(module, name, lambda *_, **__: os.kill(os.getpid(), number))
    monkeypatch.setattr(report, "read_results", lambda runs, **_: [])
    assert ended(list(argv)) == code
    assert capsys.readouterr().err.startswith(f"\ninterrupted. {said}")


def test_predictions_that_do_not_fit_on_the_disk_leave_the_table_as_it_was(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("earlier")
    with full_disk(20):
        message = ended(["predict", run, data / "test", "--csv", table])
    assert message.startswith("error: Cannot write")
    assert message.endswith(f"{run} was not changed, and neither was {table}.")
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == [table]
    assert table.read_text() == "earlier"


def test_results_of_an_evaluation_that_do_not_fit_leave_the_earlier_ones(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before, file = files_of(run), tmp_path / "numbers.json"
    file.write_text("{}")
    with full_disk(20):
        message = ended(["evaluate", run, "--test_dir", data / "test", "--json", file, "--feature_cache", "off"])
    assert message.startswith("error: Cannot write")
    assert message.endswith("no results were written.")
    assert file.read_text() == "{}"
    assert files_of(run) == before


@pytest.mark.parametrize(
    "argv",
    [
        ["evaluate", "absent", "--test_dir", "absent"],
        ["predict", "absent", "absent.png"],
        ["export", "absent", "--output", "m.onnx"],
        ["interpret", "absent"],
        ["report", "absent"],
        ["build_entities", "absent.json", "e.txt"],
        ["app", "absent"],
        [
            "convert",
            "coop",
            "--checkpoint",
            "absent",
            "--backbone",
            "b",
            "--class_names",
            "n.txt",
            "--output_dir",
            "o",
        ],
    ],
    ids=lambda argv: argv[0],
)
def test_bad_input_ends_in_one_line_and_leaves_the_folder_empty(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if argv[0] == "app":
        pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    message = ended(list(argv))
    assert message.startswith("error: ")
    assert "\n" not in message.strip()
    assert message.rstrip().endswith(".")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (torch.OutOfMemoryError("CUDA is full.\nMany lines."), "CUDA is full. Try smaller batches. Kept."),
        (ValueError("Two files:\n- one\n- two"), "Two files:\n- one\n- two\nKept."),
        (OSError("In two\n  lines"), "In two lines. Kept."),
        (MemoryError(), "MemoryError. Kept."),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device. Kept."),
    ],
)
def test_what_the_machine_lacks_is_one_line(failure: Exception, said: str) -> None:
    def fail() -> None:
        raise failure

    with pytest.raises(SystemExit) as stop, ending(lambda: "Kept."):
        fail()
    assert stop.value.code == f"error: {said}"


def test_an_error_that_a_library_raises_is_a_line_that_names_it() -> None:
    for call, said in (
        (lambda: torch.nn.Linear(2, 2)(torch.zeros(1, 3)), "error: torch: mat1 and mat2 shapes cannot be multiplied"),
        (lambda: torch.nn.ModuleDict()["absent"], "error: torch: KeyError: 'absent'. Fix."),
    ):
        with pytest.raises(SystemExit) as stop, ending(lambda: "Kept.", fix=lambda: "Fix."):
            call()
        assert str(stop.value.code).startswith(said)
        assert str(stop.value.code).endswith(" Fix.")


def test_what_a_full_disk_stopped_may_be_repeated_and_what_is_wrong_is_to_be_fixed() -> None:
    for error, said in (
        (OSError(errno.ENOSPC, "No space left on device"), "Kept."),
        (MemoryError("too large"), "Kept."),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.png"), "Fix."),
        (ValueError("bad"), "Fix."),
    ):
        with pytest.raises(SystemExit) as stop, ending(lambda: "Kept.", fix=lambda: "Fix."):
            raise error
        assert str(stop.value.code).endswith(said)


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, KeyError])
def test_what_is_our_own_error_keeps_its_traceback(error: type[Exception]) -> None:
    handler: Callable | int | None = signal.getsignal(signal.SIGTERM)
    with pytest.raises(error), ending(lambda: "Kept."):
        raise error("ours")
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_method_without_an_original_format_is_named() -> None:
    assert ended(["convert", "mantis"]) == "error: mantis has no original format to convert from."
    prompted = {"clip_lora", "kgcoop", "prograd", "ivlp", "maple", "promptsrc", "cocoop", "tcp", "mmrl"}
    assert convert.parsers().keys() == {
        f"convert {each}" for each in {"action_clip", "alpro", "clip", "coop", "cpt"} | prompted
    }


@pytest.mark.parametrize("number_of_words", [60, 400])
def test_advice_names_no_argument_that_is_no_flag(number_of_words: int) -> None:
    processor = CptForVisualGrounding.from_backbone(VILT_DIR).processor
    with pytest.raises(ValueError, match=r"Shorten it, or pass truncation=True") as refused:
        processor(images=Image.new("RGB", (48, 48)), text="cup " * number_of_words, boxes=[[2, 2, 20, 20]])
    assert in_a_line(refused.value).endswith("Shorten it.")
