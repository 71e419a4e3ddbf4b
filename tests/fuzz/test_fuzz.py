"""Readers return a value for malicious files, or raise a clear error that names the file.

The readers run in a separate process with limited memory (see `attack.py`). The long version is run with
`pytest -m slow tests/fuzz`; each reader gets 10,000 inputs, and the readers of complete models share that number.
"""

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import cases_lists, cases_media
from tests.programs import run_program


ROOT = Path(__file__).parents[2]
MODELS = [
    *("model of coop, prompt", "model of coop, full", "model of coop, full, sharded", "model of alpro, full"),
    *("model of clip_zero_shot, prompt", "model of frozen, prompt", "model of mantis, full", "model of cpt, full"),
    *("model of action_clip, full", "model of action_clip, prompt"),
    *(f"config and processor of {name}" for name in ("coop, full", "alpro, full", "frozen, full", "cpt, prompt")),
]
QUICK_MODELS = ["model of coop, prompt", "model of alpro, full", "config and processor of coop, full"]
VIDEOS = [name for name in cases_media.CASES if name.startswith("videos")]
FILES = [name for name in (*cases_lists.CASES, *cases_media.CASES) if name not in VIDEOS]


def attacked(inputs: int, *readers: str, seconds: float | None = 600) -> dict[str, dict[str, Any]]:
    """How it went, by reader."""
    command = [sys.executable, "-m", "tests.fuzz.attack", "--inputs", str(inputs), *readers]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = run_program(command, seconds, cwd=ROOT, env=environment, errors="replace")
    found = {one["reader"]: one for one in map(json.loads, done.stdout.splitlines())}
    # A reader that took the process with it is the first that did not answer.
    assert done.returncode == 0, f"after {list(found)}: {done.returncode} {done.stderr[-2000:]}"
    return found


@functools.cache
def quick() -> dict[str, dict[str, Any]]:
    return attacked(8, *FILES, *VIDEOS, *QUICK_MODELS)


@pytest.mark.parametrize("reader", [*FILES, *VIDEOS, *QUICK_MODELS])
def test_a_reader_takes_some_hostile_files_for_what_they_are(reader: str) -> None:
    check(quick()[reader])


@pytest.mark.slow
@pytest.mark.parametrize("reader", FILES)
def test_a_reader_takes_ten_thousand_hostile_files_for_what_they_are(reader: str) -> None:
    check(attacked(10_000, reader, seconds=None)[reader])


@pytest.mark.slow
@pytest.mark.parametrize("reader", VIDEOS)
def test_containers_take_ten_thousand_hostile_videos_together(reader: str) -> None:
    check(attacked(10_000 // len(VIDEOS) + 1, reader, seconds=None)[reader])


@pytest.mark.slow
@pytest.mark.parametrize("reader", MODELS)
def test_methods_take_ten_thousand_hostile_folders_together(reader: str) -> None:
    check(attacked(10_000 // len(MODELS) + 1, reader, seconds=None)[reader])


def check(found: dict[str, Any]) -> None:
    reader = found["reader"]
    said = [
        f"--only {number} {reader!r} ({file}, {count} alike): {what}" for count, number, file, what in found["broken"]
    ]
    assert not said, "\n".join(said)
    assert found["counts"].get("refused", 0) + found["counts"].get("read", 0) > 0, found
