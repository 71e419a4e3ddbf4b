"""Folders that several processes write to at once: files are complete and none is lost, for each interleaving."""

import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.utils import files
from hf_prompt_models.utils.files import (
    FolderInUseError,
    abandoned,
    adding_files,
    discard,
    list_directory,
    locked,
    move_folder,
    remove_unfinished,
    replacing,
    staging,
)


pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
CONTEXT = multiprocessing.get_context("fork")  # a spawned process would spend its time on imports


@contextmanager
def another_process(run: Callable[[Connection], object]) -> Iterator[tuple[Any, Connection]]:
    """A process that runs a function, and the connection to it; it is killed at the end."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=run, args=(theirs,), daemon=True)
    process.start()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def after(function: Callable, then: Callable[[], object], at_call: int = 1) -> Callable:
    """A function that, at its n-th call, lets another process act between what it did and its return."""
    calls = 0

    def called(*arguments: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        value = function(*arguments, **settings)
        if calls == at_call:
            then()
        return value

    return called


def test_what_a_live_process_writes_stays_and_what_a_killed_one_wrote_goes(tmp_path: Path) -> None:
    def write(connection: Connection) -> None:
        with replacing(tmp_path / "table") as beside:
            beside.write_text("whole")
            connection.send("began")
            connection.recv()
        connection.send("done")

    for is_killed in (False, True):
        with another_process(write) as (process, connection):
            assert connection.recv() == "began"
            remove_unfinished(tmp_path)
            if is_killed:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                assert len([name for name in names(tmp_path) if name.startswith(".saving-")]) == 1
                remove_unfinished(tmp_path)
            else:
                connection.send("go on")
                assert connection.recv() == "done"
                process.join()
        assert names(tmp_path) == ["table"]
        assert (tmp_path / "table").read_text() == "whole"


def test_a_process_cleans_up_around_its_own_writing(tmp_path: Path) -> None:
    with replacing(tmp_path / "outer") as outer, replacing(tmp_path / "inner") as inner:
        outer.write_text("1")
        inner.write_text("2")
        remove_unfinished(tmp_path)
    assert names(tmp_path) == ["inner", "outer"]


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    def wait(connection: Connection) -> None:
        connection.send("began")
        connection.recv()

    with ExitStack() as stack:
        with locked(tmp_path):
            process, connection = stack.enter_context(another_process(wait))
            assert connection.recv() == "began"
        with locked(tmp_path) as has_locks:
            assert has_locks
        assert process.is_alive()


def test_a_folder_that_a_cleaner_takes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", after(tempfile.mkdtemp, lambda: remove_unfinished(tmp_path)))
    with replacing(tmp_path / "table") as beside:
        beside.write_text("whole")
    assert names(tmp_path) == ["table"]


def test_an_unfinished_folder_that_is_gone_when_it_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".saving-a").mkdir()
    (tmp_path / ".saving-b").mkdir()
    monkeypatch.setattr(os, "listdir", after(os.listdir, (tmp_path / ".saving-a").rmdir))
    assert [left.name for left in abandoned(tmp_path)] == [".saving-b"]
    (tmp_path / ".saving-a").mkdir()
    monkeypatch.setattr(os, "open", after(os.open, (tmp_path / ".saving-a").rmdir))
    assert [left.name for left in abandoned(tmp_path)] == [".saving-b"]


def test_a_file_system_without_locks_tells_by_the_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with staging(tmp_path) as folder:
        remove_unfinished(tmp_path)
        assert folder.is_dir()
        os.utime(folder, (0, 0))
        remove_unfinished(tmp_path)
        assert not folder.exists()


@pytest.mark.parametrize("gone", ["folder", "parent", "file in its place"])
def test_a_folder_that_is_gone_has_no_entries(tmp_path: Path, gone: str) -> None:
    if gone == "file in its place":
        (tmp_path / "a").write_text("")
    assert list_directory(tmp_path / "a" / "b" if gone == "parent" else tmp_path / "a", "*") == []


def test_of_two_folders_moved_to_one_place_the_later_one_wins_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, written, other = tmp_path / "place", tmp_path / "written", tmp_path / "other"
    for folder in (place, written, other):
        folder.mkdir()
        (folder / folder.name).write_text("")
    monkeypatch.setattr(os, "replace", after(os.replace, lambda: shutil.move(other, place)))
    move_folder(written, place)
    assert names(place) == ["written"]
    assert names(tmp_path) == ["place"]


def test_a_folder_that_cannot_be_moved_leaves_the_earlier_one(tmp_path: Path) -> None:
    place, written = tmp_path / "place", tmp_path / "written"
    for folder in (place, written):
        folder.mkdir()
        (folder / folder.name).write_text("")

    def refuse(source: Path, target: Path) -> None:
        if Path(source) == written:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    replace = os.replace
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError):
            move_folder(written, place)
    assert names(place) == ["place"]


def test_a_folder_is_discarded_in_one_step_and_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("")
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "replace", after(os.replace, lambda: seen.append(list_directory(tmp_path, "f*"))))
    discard(folder)
    discard(folder)
    assert (seen, names(tmp_path)) == ([[]], [])


def test_files_appear_together_and_lists_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (moved.append(Path(paths[1]).name), replace(*paths)))
    with adding_files(tmp_path / "new") as folder:
        for name in ("config.json", "a.jsonl", "b.png", "model.safetensors"):
            (folder / name).write_text(name)
        assert names(tmp_path / "new") == [folder.name]
    assert moved == ["b.png", "model.safetensors", "a.jsonl", "config.json"]


def _write_often(folder: Path, number: int) -> None:
    for turn in range(25):
        remove_unfinished(folder)
        with replacing(folder / "common") as beside:
            beside.write_text(f"{number}-{turn}\n" * 200)
        with replacing(folder / f"own-{number}-{turn}") as beside:
            beside.write_text("whole")
        made = folder / f"made-{number}"
        made.mkdir()
        (made / "written").write_text(f"{number}-{turn}")
        move_folder(made, folder / "moved")
        lines = set((folder / "common").read_text().splitlines())
        assert len(lines) == 1


def test_processes_that_write_clean_and_move_in_one_folder_lose_nothing(tmp_path: Path) -> None:
    processes = [CONTEXT.Process(target=_write_often, args=(tmp_path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    own = [f"own-{number}-{turn}" for number in range(3) for turn in range(25)]
    assert names(tmp_path) == sorted(["common", "moved", *own])


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUseError), locked(tmp_path):
        pytest.fail("it was locked twice")
