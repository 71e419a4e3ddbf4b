"""Without a Hub, the tests of published checkpoints are skipped soon, and say what they would have checked."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.programs import run_program


@pytest.mark.slow
def test_everything_is_skipped_and_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "tests/hub_checkpoints", "-m", "hub", "-rsP", "-p", "no:cacheprovider"]
    hidden = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HF_PROMPT_TEST_HUB": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    before = os.times()
    done = run_program(command, env=environment, cwd=Path(__file__).parents[2])
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds < 60  # of processor time, as other programs may keep the machine busy
    assert done.returncode == 0, done.stdout
    tests = re.search(r"(\d+) skipped", done.stdout)
    assert tests is not None
    said = re.findall(r"SKIPPED.*It would have checked(?:\[.*\])?: .+", done.stdout)
    assert len(said) == int(tests[1]) > 20
    assert "no Hub at http://127.0.0.1:9" in done.stdout
    for part in (
        "24.5701",
        "cats",
        "The dog",
        "49406",
        "102.0 M",
        "2048, 7, 7",
        "MIT",
        "[timm/resnet50x64_clip.openai]",
    ):
        assert part in done.stdout, part
