"""A program that hangs is killed, and its position is reported."""

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.programs import run_program


WORKER = """
import fcntl, sys, time

def waits():
    print("it waits", file=file, flush=True)
    time.sleep(600)

with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    waits()
"""


def test_output_and_status_come_back() -> None:
    done = run_program([sys.executable, "-c", "import sys; print(1); sys.exit(3)"])
    assert (done.stdout, done.returncode) == ("1\n", 3)


def test_a_launcher_whose_workers_wait_for_ever_is_ended_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    # A shell, which prints nothing when it is ended: what two Pythons print at once is mixed letter by letter.
    launcher = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", WORKER, str(locked)]
    communicate = subprocess.Popen.communicate

    def communicate_when_it_waits(process: subprocess.Popen, timeout: float) -> tuple[str, str]:
        while not (locked.exists() and locked.read_text()):
            time.sleep(0.01)
        return communicate(process, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate_when_it_waits)
    with pytest.raises(AssertionError, match="in waits") as failure:
        run_program(launcher, seconds=0.5)
    assert "took more than 0.5 s" in str(failure.value)
    with open(locked) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for whoever has it
