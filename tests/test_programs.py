"""A program that waits for ever is ended, and says where it was."""

import subprocess
import sys
import time

import pytest

from tests.programs import run_program


def test_output_and_status_come_back() -> None:
    done = run_program([sys.executable, "-c", "import sys; print(1); sys.exit(3)"])
    assert (done.stdout, done.returncode) == ("1\n", 3)


def test_a_launcher_whose_workers_wait_for_ever_is_ended_with_them() -> None:
    worker = "import time\ndef waits():\n    time.sleep(600)\nwaits()"
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    started = time.monotonic()
    with pytest.raises(AssertionError, match="in waits") as failure:
        run_program([sys.executable, "-c", launcher], seconds=3)
    assert time.monotonic() - started < 60
    assert "took more than 3 s" in str(failure.value)
    assert subprocess.run(["pgrep", "-f", "def waits"], capture_output=True, text=True).stdout == ""
