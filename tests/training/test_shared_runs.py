"""Runs, checkpoints and reports in folders that other processes use at the same time."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hf_prompt_cli.main import main
from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.playground import few_shot_task
from hf_prompt_models.tasks import results
from hf_prompt_models.tasks.results import RunResults, find_results
from hf_prompt_models.training.checkpoints import newest_complete_checkpoint, restore_checkpoints
from hf_prompt_models.training.run_lock import LOCK, only_run
from hf_prompt_models.utils.files import FolderInUseError, move_folder, remove_unfinished, replacing
from tests.data.test_shared_folders import after, another_process, names
from tests.scripts.test_few_shot_scripts import data, flags


__all__ = ["data"]
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def test_a_second_run_in_a_folder_is_refused_until_the_first_ends_or_is_killed(tmp_path: Path) -> None:
    def run(connection: Connection) -> None:
        with only_run(tmp_path / "run", is_main=True):
            connection.send("began")
            connection.recv()
        connection.send("ended")

    for is_killed in (False, True):
        with another_process(run) as (process, connection):
            assert connection.recv() == "began"
            remove_unfinished(tmp_path / "run")
            with (
                pytest.raises(FolderInUseError, match=r"Another run is writing to '.*run'\. Wait until it has ended"),
                only_run(tmp_path / "run", is_main=True),
            ):
                pytest.fail("two runs write into one folder")
            with only_run(tmp_path / "run", is_main=False):  # a process of the run itself
                assert names(tmp_path / "run") == [LOCK]
            if is_killed:
                os.kill(process.pid, signal.SIGKILL)
            else:
                connection.send("end")
                assert connection.recv() == "ended"
            process.join()
        with only_run(tmp_path / "run", is_main=True):
            pass
        assert names(tmp_path / "run") == []


def test_a_run_that_ended_while_another_prepared_in_its_folder_is_not_replaced(
    modern_clip: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def enter_after_another(output_dir: str, is_main: bool) -> Iterator[None]:
        Path(output_dir).mkdir()
        for name in ("run.json", "results.json"):
            (Path(output_dir) / name).write_text("{}")
        yield

    monkeypatch.setattr("hf_prompt_models.tasks.run.only_run", enter_after_another)
    with pytest.raises(SystemExit, match="already contains a run"):
        main(["train", *flags(modern_clip, data, tmp_path / "run")])
    assert {name: (tmp_path / "run" / name).read_text() for name in names(tmp_path / "run")} == {
        "run.json": "{}",
        "results.json": "{}",
    }


def write_checkpoint(folder: Path, step: int) -> None:
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def test_a_checkpoint_that_made_space_for_one_that_never_came_is_put_back(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint-4", 4)
    write_checkpoint(tmp_path / "written" / "checkpoint-4", 4)

    def replace_and_die(connection: Connection) -> None:
        os.replace = after(os.replace, lambda: os._exit(9))
        move_folder(tmp_path / "written" / "checkpoint-4", tmp_path / "checkpoint-4")

    with another_process(replace_and_die) as (process, _):
        process.join()
        assert process.exitcode == 9
    assert newest_complete_checkpoint(tmp_path) is None
    restore_checkpoints(tmp_path)
    remove_unfinished(tmp_path)
    assert newest_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert names(tmp_path) == ["checkpoint-4", "written"]


def test_checkpoints_that_vanish_while_they_are_looked_at_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (2, 4):
        write_checkpoint(tmp_path / f"checkpoint-{step}", step)
    for call in (1, 2, 3):  # the folder's list, then those of the checkpoints
        shutil.copytree(tmp_path, tmp_path.with_name("run"))
        later = tmp_path.with_name("run") / "checkpoint-4"
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", after(os.listdir, lambda place=later: shutil.rmtree(place), call))
            assert newest_complete_checkpoint(later.parent) in {str(later), str(later.with_name("checkpoint-2"))}
        shutil.rmtree(later.parent)


def test_models_saved_at_once_into_one_folder_leave_one_of_them_whole(
    modern_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hf_prompt_models.saving.complete_checkpoints as module

    first = CoOpForImageClassification.from_backbone(modern_clip, ["cat", "dog"], n_ctx=2)
    second = CoOpForImageClassification.from_backbone(modern_clip, ["cat", "dog", "fox"], n_ctx=3)
    saving = threading.Thread(target=second.save_pretrained, args=(tmp_path,))
    moved = module.move_files

    def move_while_another_saves(written: Path, directory: Path) -> None:
        moved(written, directory)
        if not saving.ident:
            saving.start()
            saving.join(0.5)  # what it would take, were it not made to wait
            assert saving.is_alive()

    monkeypatch.setattr(module, "move_files", move_while_another_saves)
    first.save_pretrained(tmp_path, save_backbone=True, max_shard_size="50KB")  # shards, and their index
    saving.join()
    loaded = CoOpForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.class_names == ["cat", "dog", "fox"]
    assert torch.equal(loaded.prompt_learner.context, second.prompt_learner.context)
    assert [name for name in names(tmp_path) if "safetensors" in name] == ["model.safetensors"]


def test_results_that_are_being_written_are_no_results(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    with replacing(tmp_path / "run" / "results.json") as beside:
        beside.write_text('{"half')
        assert find_results(tmp_path) == [tmp_path / "run" / "results.json"]


def test_a_run_that_is_removed_while_results_are_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_first(path: Path) -> object:
        shutil.rmtree(tmp_path / "removed", ignore_errors=True)
        return plain(path)

    for run in ("kept", "removed"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "results.json").write_text('{"task": null}')
    monkeypatch.setattr(results, "read_result", lambda path: RunResults(path, json.loads(path.read_text())))
    plain = results.read_result
    monkeypatch.setattr(results, "read_result", remove_first)
    assert [each.path for each in results.read_results([tmp_path])] == [tmp_path / "kept" / "results.json"]


def test_drawing_again_what_another_process_reads_leaves_every_image_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_shot_task, "CLASS_NAMES", ("boat", "car"))
    few_shot_task.write_image_folder(tmp_path, seed=1, train_per_class=2, test_per_class=1)
    written = {file: file.read_bytes() for file in tmp_path.rglob("*.png")}
    save = Image.Image.save

    def save_half(image: Image.Image, file: Path) -> None:
        Path(file).write_bytes(b"half")
        assert {each: each.read_bytes() for each in written} == written
        save(image, file)

    monkeypatch.setattr(Image.Image, "save", save_half)
    few_shot_task.write_image_folder(tmp_path, seed=1, train_per_class=2, test_per_class=1)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == written
    assert len(written) == 6
