"""Two processes train like one on the same examples, even if one of them has no image."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.prefix_lm import train_few_steps
from tests.prefix_lm.backbones import make
from tests.programs import IN_TWO_PROCESSES, run_program


ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    make("frozen", "llama").save_pretrained(tmp_path / "model")
    train_few_steps.main(str(tmp_path / "model"), str(tmp_path / "one"), "4")
    done = run_program(
        [*IN_TWO_PROCESSES, train_few_steps.__file__, str(tmp_path / "model"), str(tmp_path / "two"), "2"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
    )
    assert done.returncode == 0, done.stderr
    before, one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    moved = one["image_projection.linear.weight"] - before["image_projection.linear.weight"]
    assert moved.abs().max() > 1e-3
