"""Programs that tests start: they end, or are killed with all their child processes and report where each one was."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


IN_TWO_PROCESSES = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
"""Before a script's path: launches it in two processes, which meet at a port of the launcher's choice."""


def run_program(
    command: list[str], seconds: float = 300, env: dict[str, str] | None = None, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run`, its output as text.

    `subprocess.run` kills the program alone at its time limit, and then waits for whoever else holds its output: for
    ever, where a launcher's workers wait for each other. Here the limit is that of all of them, and each Python among
    them prints where it was.
    """
    env = (os.environ if env is None else env) | {"PYTHONFAULTHANDLER": "1"}
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    process = subprocess.Popen(command, env=env, start_new_session=True, **how)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for sign in (signal.SIGABRT, signal.SIGKILL):
            os.killpg(process.pid, sign)
            try:
                output, errors = process.communicate(timeout=60)  # for a few lines, on a busy machine
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError(f"{command} took more than {seconds} s:\n{output[-2000:]}\n{errors[-10_000:]}") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def run_two(function: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Call `function(rank, folder, *arguments)` in this process and in another one, which must end well, and soon.

    They meet through a file in the folder: a port that was free may not be so any more.
    """
    process = multiprocessing.get_context("spawn").Process
    other = process(target=_run_one_of_two, args=(1, function, folder, *arguments), daemon=True)
    other.start()
    try:
        _run_one_of_two(0, function, folder, *arguments)
        other.join(timeout=180)
        assert other.exitcode == 0
    finally:
        other.kill()


def _run_one_of_two(rank: int, function: Callable[..., None], folder: Path, *arguments: Any) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", meeting, timeout=timedelta(minutes=3), rank=rank, world_size=2)
    try:
        function(rank, folder, *arguments)
    finally:
        # A DistributedDataParallel that outlives its group ends the group's threads when it goes itself, while it has
        # the interpreter's lock: it waits for ever if one of them waits for the lock. So it must be gone before.
        gc.collect()
        distributed.destroy_process_group()
