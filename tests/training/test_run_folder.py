"""Files of earlier runs are read like untrusted files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hf_prompt_models.training.checkpoints import newest_complete_checkpoint
from hf_prompt_models.training.run_folder import check_same_run, model_directories


@pytest.mark.parametrize(
    "results",
    [[], {}, {"seeds": {}}, {"seeds": {"1": None}}, {"seeds": {"1": {"model": True}}}, {"seeds": {"../x": {}}}],
)
def test_results_that_name_no_models_are_refused_by_name(results: Any, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"results\.json is not a result"):
        model_directories(str(tmp_path))


@pytest.mark.parametrize("record", ["[]", "7", "[" * 100_000, "{", "\xff"])
def test_a_record_that_is_none_is_refused_by_name(record: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(record, encoding="latin1")
    with pytest.raises(ValueError, match=r"run\.json"):
        check_same_run(tmp_path / "run.json", {"shots": 1}, "checkpoint-1")


def write_checkpoint(folder: Path) -> Path:
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 1}))
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, folder / name)
    return folder


@pytest.mark.parametrize("state", ["7", "[" * 100_000, "\xff"])
def test_a_checkpoint_whose_state_is_none_is_passed_over(state: str, tmp_path: Path) -> None:
    whole, broken = write_checkpoint(tmp_path / "checkpoint-1"), write_checkpoint(tmp_path / "checkpoint-2")
    assert newest_complete_checkpoint(tmp_path) == str(broken)
    (broken / "trainer_state.json").write_text(state, encoding="latin1")
    assert newest_complete_checkpoint(tmp_path) == str(whole)


def test_a_checkpoint_whose_archive_reports_that_it_continues_elsewhere_is_passed_over(tmp_path: Path) -> None:
    whole, broken = write_checkpoint(tmp_path / "checkpoint-1"), write_checkpoint(tmp_path / "checkpoint-2")
    content = bytearray((broken / "rng_state.pth").read_bytes())
    locator = content.rfind(b"PK\x06\x07")  # of the directory's end, which torch writes in the 64-bit form
    assert locator > 0
    content[locator + 16] = 9  # disks
    (broken / "rng_state.pth").write_bytes(content)
    assert newest_complete_checkpoint(tmp_path) == str(whole)
