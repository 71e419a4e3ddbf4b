"""The fuzzing harness finds the problems that it is made for."""

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.programs import run_program


ROOT = Path(__file__).parents[2]
DEFECTS = {
    "a type error": ("None + 1", "TypeError"),
    "an error that names no file": ("int('seven')", "unnamed"),
    "a hang": ("sum(0 for _ in iter(int, 1))", "more than 0.5 s"),
    "a gigabyte": ("bytearray(3 * 2**29)", "MemoryError"),
    "a file outside": ("(folder.parent / 'outside' / 'secret.png').read_bytes()", "opened or ran"),
    "a folder made outside": ("(folder.parent / 'outside' / 'ran').mkdir(exist_ok=True)", "made"),
    "code run": ("subprocess.run(['true'])", "opened or ran"),
}
SCRIPT = """
import json, signal, subprocess, sys
from tests.fuzz import attack
from tests.fuzz.cases import Case, write_json

def reader(code):
    calls = []
    def read(folder):
        calls.append(folder)
        if len(calls) > 1:  # the first time the good files are read
            eval(code)
    return read

attack.MAX_SECONDS = 0.5
signal.signal(signal.SIGPROF, attack.raise_hang)
for code in sys.argv[1:]:
    case = Case(lambda folder: write_json(folder / "a.json", [1]), reader(code))
    print(json.dumps(attack.attack("x", case, range(1))))
"""


@functools.cache
def found() -> list[dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-c", SCRIPT, *(code for code, _ in DEFECTS.values())]
    done = run_program(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect: str) -> None:
    one = found()[list(DEFECTS).index(defect)]
    assert one["counts"] == {"broken": 1}
    assert DEFECTS[defect][1] in one["broken"][0][3]
