"""Run `scripts/train.py` in child processes and kill them again and again; run as a program by a test.

    python -m tests.scripts.killed_training REQUEST.json

Each training run is forked from this process, which has imported everything, so that a kill costs no imports. It is
killed with SIGKILL at the n-th operation on a file of its run folder (opening, moving, removing, …), or after some
seconds. Prints JSON: how often a run was killed, and resumed from a checkpoint; how often the newest checkpoint was
incomplete; the files of an uninterrupted run; and, for each completed run, the files that differ from these.
"""

import contextlib
import hashlib
import json
import os
import runpy
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hf_prompt_models.training.checkpoints import newest_complete_checkpoint


TRAIN = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "train.py"))["main"]
WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def fork_training(flags: list[str], folder: Path, log: Path, last: int | None = None) -> int:
    """Begin a training in a new process, whose id is returned.

    It kills itself at the `last` thing it does to a file of `folder`, and counts them in `folder.count` otherwise.
    """
    process = os.fork()
    if process:
        return process
    status, count = 1, 0
    with contextlib.suppress(BaseException), log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            # Within a folder that is being removed, names are relative to it.
            if event in WATCHED and (event in ("os.remove", "os.rmdir") or str(arguments[0]).startswith(str(folder))):
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            TRAIN(flags)
            status = 0
        except SystemExit as stop:
            print(stop)
        Path(f"{folder}.count").write_text(str(count))
        output.flush()
    os._exit(status)


def wait(process: int, seconds: float | None = None) -> int:
    """The status of a process at its end; 9 if it was killed, as it is after so many seconds."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, 0 if end is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            end = None
        time.sleep(0.002)


def left(folder: Path) -> dict[str, str]:
    """All files of a run with the digests of those that are to be the same bit for bit.

    What evaluations wrote on the way is left out: one that a kill cut off is not repeated.
    """
    same = (".safetensors", ".csv", ".jsonl", "few_shot.json")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "samples")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name.endswith(same)
        else ""
        for path in files
    }


def seeds_of(run: Path) -> list[Path]:
    """Return the folders with checkpoints."""
    return [run, *run.glob("seed-*")]


def newest_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint, complete or not."""
    return max(map(str, folder.glob("checkpoint-*")), key=lambda name: int(name.rpartition("-")[2]), default=None)


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Kill a training until it was killed `kills` times, each time going on, and from the beginning after each end.

    Args:
        request: `flags` of train.py without --output_dir; whether it `has_cache`; `folder`, for the runs; `kills`;
            `timed`, whether every second kill is at a moment and not at a file: how far a training is by then depends
            on what else the machine does; `seed`.
    """
    work, random = Path(request["folder"]), np.random.default_rng(request["seed"])
    log = work / "log.txt"

    def flags(name: str) -> list[str]:
        own = ["--output_dir", str(work / name), "--resume_from_checkpoint", "true"]
        if request["has_cache"]:
            own += ["--feature_cache", str(work / f"{name}.features")]
        return [*request["flags"], *own]

    started = time.monotonic()
    if wait(fork_training(flags("undisturbed"), work / "undisturbed", log)) != 0:
        raise RuntimeError(log.read_text())
    seconds = time.monotonic() - started
    events = int((work / "undisturbed.count").read_text())
    expected = left(work / "undisturbed")

    killed, resumed, torn = 0, 0, 0
    differences: list[list[str]] = []
    while killed < request["kills"] or (work / "killed").exists():
        at_event = killed < request["kills"] and (killed % 2 == 0 or not request["timed"])
        at_time = killed < request["kills"] and not at_event
        first = 1 if request["timed"] else events // 3  # by then there is a checkpoint
        last = int(random.integers(first, max(events * 2 // 3, 2))) if at_event else None
        resumed += any(newest_complete_checkpoint(folder) for folder in seeds_of(work / "killed"))
        process = fork_training(flags("killed"), work / "killed", log, last)
        status = wait(process, random.uniform(0.1, 0.7) * seconds if at_time else None)
        if status == 0:
            found = left(work / "killed")
            names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            differences.append(names)
            shutil.rmtree(work / "killed")
            shutil.rmtree(work / "killed.features", ignore_errors=True)
        elif status == -signal.SIGKILL:
            killed += 1
            torn += any(newest_complete_checkpoint(f) != newest_checkpoint(f) for f in seeds_of(work / "killed"))
        else:
            raise RuntimeError(log.read_text()[-3000:])
    return {"killed": killed, "resumed": resumed, "torn": torn, "differences": differences, "files": list(expected)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
