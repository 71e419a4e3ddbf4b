"""Files that are either complete or missing."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hf_prompt_models.utils.files import (
    UNFINISHED,
    check_inside,
    check_listed,
    read_json,
    read_json_lines,
    read_text,
    remove_unfinished,
    replacing,
    write_json,
)
from tests.full_disk import full_disk


def write_and_fail(file: Path) -> None:
    with replacing(file) as beside:
        beside.write_text("second")
        raise KeyError


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "inner" / "table.csv"
    with replacing(file) as beside:
        beside.write_text("first")
    with pytest.raises(KeyError):
        write_and_fail(file)
    assert file.read_text() == "first"
    assert list(file.parent.iterdir()) == [file]


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda file: file.write_text("second" * 1000),
    "torch": lambda file: torch.save(torch.zeros(2000), file),
    "safetensors": lambda file: save_file({"zeros": torch.zeros(2000)}, file),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_named_in_one_line_and_leaves_the_earlier_file(writer: str, tmp_path: Path) -> None:
    file = tmp_path / "table"
    file.write_text("first")
    with pytest.raises(OSError, match="Cannot write") as failed, full_disk(1500), replacing(file) as beside:
        WRITERS[writer](beside)
    assert str(file) in str(failed.value)
    assert "\n" not in str(failed.value)
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), "the name of a file beside")

    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(OSError, match=r"^Cannot write '.*inner/table\.json': Read-only file system\.$"):
        write_json(tmp_path / "inner" / "table.json", {})


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError("out of memory"), FileNotFoundError(errno.ENOENT, "no such picture")):
        with pytest.raises(type(error)) as failed, replacing(tmp_path / "table"):
            raise error
        assert failed.value is error


def test_what_a_killed_process_began_is_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "table") as beside:
        beside.write_text("half")
        shutil.copytree(beside.parent, tmp_path / f"{beside.parent.name}-of-a-killed-process")
    (tmp_path / f"{UNFINISHED}table").write_text("half")
    (tmp_path / "folder").mkdir()
    assert len(list(tmp_path.iterdir())) == 4
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "table"]
    remove_unfinished(tmp_path / "absent")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder"), replacing(tmp_path):
        pytest.fail("work was begun")


def test_text_is_read_within_bounds_and_in_utf8_alone(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeffé\n".encode())
    assert read_text(file, 100, "lists") == "é\n"
    with pytest.raises(ValueError, match=r"list\.txt has 6 bytes, but lists may have at most 5"):
        read_text(file, 5, "lists")
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"list\.txt is not a UTF-8 text file"):
        read_text(file, 100, "lists")


def test_json_lines_come_with_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text('{"a": "one\u2028line"}\n\n  {"a": 2}\r\n', encoding="utf-8")
    assert read_json_lines(file, 100, "lists") == [(1, {"a": "one\u2028line"}), (3, {"a": 2})]


@pytest.mark.parametrize("line", ["{", "[1]", "7", "[" * 100_000, '{"a": 1} {}'])
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"list\.jsonl, line 2: "):
        read_json_lines(file, 1_000_000, "lists")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "list.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"list\.json cannot be read as JSON"):
        read_json(file, 1_000_000, "lists")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/", "/..", "a/../b", "../a.png", "/a/../b", "a\0b", "/a\0b", "a\ud800"]
)
def test_paths_that_climb_are_refused_in_lists_where_absolute_ones_pass(name: str) -> None:
    with pytest.raises(ValueError, match=r"here: .* is not a path within"):
        check_listed(name, "here")
    check_listed("/videos/a.mp4", "here")
    check_listed("videos/a..mp4", "here")


@pytest.mark.parametrize("name", ["", ".", "..", "/etc/passwd", "a/../../b", "a\0b", "a\ud800"])
def test_names_that_lead_out_of_a_folder_are_refused(name: str) -> None:
    check_inside("a/b.png", "here")
    with pytest.raises(ValueError, match=r"^here: .* is not a path within the folder"):
        check_inside(name, "here")
