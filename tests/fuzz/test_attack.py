"""The harness finds what it is there to find."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
DEFECTS = {
    "a type error": ("None + 1", "TypeError"),
    "an error that names no file": ("raise_(ValueError('something is wrong'))", "unnamed"),
    "a hang": ("[None for _ in iter(int, 1)]", "more than 5 s"),
    "a gigabyte": ("bytearray(3 * 2**29)", "MemoryError"),
    "a file outside": ("(folder.parent / 'outside' / 'secret.png').read_bytes()", "opened or ran"),
    "a folder made outside": ("(folder.parent / 'outside' / 'ran').mkdir(exist_ok=True)", "made"),
    "code run": ("subprocess.run(['true'])", "opened or ran"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(defect: str) -> None:
    code, message = DEFECTS[defect]
    script = f"""
        import itertools, signal, subprocess, json
        from tests.fuzz import attack
        from tests.fuzz.cases import Case, write_json

        def raise_(error):
            raise error

        calls = itertools.count()

        def read(folder):
            if next(calls):  # the first time the good files are read
                {code}

        signal.signal(signal.SIGPROF, attack._raise_hang)
        case = Case(lambda folder: write_json(folder / "a.json", [1]), read)
        print(json.dumps(attack.attack("x", case, range(1))))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["counts"] == {"broken": 1}
    assert message in found["broken"][0][3]
