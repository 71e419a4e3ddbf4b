"""Training with two processes gives the same result as one process with the same batches."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.programs import IN_TWO_PROCESSES, run_program
from tests.scripts import test_few_shot_scripts as pictures
from tests.scripts import test_grounding_scripts as scenes
from tests.scripts import test_video_scripts as clips
from tests.scripts.test_few_shot_scripts import SCRIPTS, script
from tests.scripts.test_few_shot_scripts import data as pictures_data
from tests.scripts.test_grounding_scripts import data as scenes_data
from tests.scripts.test_grounding_scripts import vilt
from tests.scripts.test_video_scripts import data as clips_data


__all__ = ["clips_data", "pictures_data", "scenes_data", "vilt"]
# Plain gradient descent: Adam divides by the gradient's size, and would make steps of its rounding errors.
PLAIN = ("--optim", "sgd", "--lr_scheduler_type", "constant", "--use_cpu", "true")
PLAIN += ("--logging_strategy", "steps", "--logging_steps", "1")


def two(flags: list[str]) -> str:
    """What `torchrun --nproc_per_node 2 scripts/train.py` prints."""
    command = [*IN_TWO_PROCESSES, str(SCRIPTS / "train.py"), *flags, "--ddp_backend", "gloo"]
    finished = run_program(command)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def check_same(folder: Path) -> None:
    """That the runs `one` and `two` drew the same, lost the same at each step, and hold the same model."""
    one, two = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5)
    losses, drawn = [], []
    for run in (folder / "one", folder / "two"):
        drawn.append((run / "few_shot.json").read_text())
        (state,) = run.glob("checkpoint-*/trainer_state.json")
        history = json.loads(state.read_text())["log_history"]
        losses.append([entry["loss"] for entry in history if "loss" in entry])
    assert drawn[0] == drawn[1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert len(losses[0]) > 2
    assert max(losses[0]) - min(losses[0]) > 0.01
    results = [json.loads((folder / name / "results.json").read_text()) for name in ("one", "two")]
    assert results[0]["accuracy"] == results[1]["accuracy"]


def test_coop(modern_clip: Path, pictures_data: Path, tmp_path: Path) -> None:
    more = (*PLAIN, "--learning_rate", 0.01)
    cache = ("--feature_cache", tmp_path / "cache")
    alone = pictures.flags(modern_clip, pictures_data, tmp_path / "one", *more, "--feature_cache", "off")
    script("train.py")(alone)
    both = pictures.flags(
        modern_clip, pictures_data, tmp_path / "two", *more, *cache, "--per_device_train_batch_size", 2
    )
    assert two(both).count("Predict with") == 1
    check_same(tmp_path)
    files = list((tmp_path / "cache").glob("*/*.safetensors"))
    assert len(files) == 2  # of the test images; each process computed some
    assert sum(len(load_file(file)["keys"]) for file in files) == 12


@pytest.mark.slow
def test_clip_lora(modern_clip: Path, pictures_data: Path, tmp_path: Path) -> None:
    """Without dropout, which each process samples for its own images."""

    def flags(name: str, batch_size: int) -> list[str]:
        more = (*PLAIN, "--learning_rate", 0.05, "--lora_dropout", 0, "--max_steps", 6, "--feature_cache", "off")
        coop = pictures.flags(
            modern_clip, pictures_data, tmp_path / name, *more, "--per_device_train_batch_size", batch_size
        )
        without = coop.index("--n_ctx")
        return ["clip_lora", *coop[1:without], *coop[without + 2 :]]

    script("train.py")(flags("one", 4))
    assert two(flags("two", 2)).count("Predict with") == 1
    check_same(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["all", "head"])
def test_action_clip(trainable: str, clips_data: Path, tmp_path: Path) -> None:
    """Frames, crops, colours and sentences of a clip depend only on seed, epoch and position."""
    more: tuple[object, ...] = (*PLAIN, "--learning_rate", 0.01)
    more += ("--trainable", trainable, "--post_network", "conv1d", "--feature_cache", "off")
    script("train.py")(clips.flags(clips_data, tmp_path / "one", *more, "--per_device_train_batch_size", 4))
    both = clips.flags(clips_data, tmp_path / "two", *more, "--per_device_train_batch_size", 2)
    assert two(both).count("Predict with") == 1
    check_same(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["vocab_ce", "listwise"])
def test_cpt(loss: str, vilt: Path, scenes_data: Path, tmp_path: Path) -> None:
    """Phrases have different numbers of painted copies, and so have processes."""
    shutil.copytree(scenes_data / "train", tmp_path / "train")
    proposals = json.loads((tmp_path / "train" / "proposals.json").read_text())
    proposals["1.png"].pop()
    proposals["2.png"] = proposals["2.png"][2:]
    (tmp_path / "train" / "proposals.json").write_text(json.dumps(proposals))
    more: tuple[object, ...] = (*PLAIN, "--learning_rate", 2e-4, "--loss", loss, "--sample_regions", "false")
    more += ("--train_dir", tmp_path / "train", "--shots", 4, "--num_train_epochs", 3)
    script("train.py")(scenes.flags(scenes_data, vilt, tmp_path / "one", *more, "--per_device_train_batch_size", 4))
    both = scenes.flags(scenes_data, vilt, tmp_path / "two", *more, "--per_device_train_batch_size", 2)
    assert two(both).count("Test again with") == 1
    check_same(tmp_path)


@pytest.mark.slow
def test_activation_checkpointing_with_parameters_that_no_loss_reaches(
    vilt: Path, scenes_data: Path, tmp_path: Path
) -> None:
    more = (
        *PLAIN,
        "--learning_rate",
        2e-4,
        "--shots",
        4,
        "--num_train_epochs",
        3,
        "--activation_checkpointing",
        "true",
    )
    script("train.py")(scenes.flags(scenes_data, vilt, tmp_path / "one", *more, "--per_device_train_batch_size", 4))
    two(scenes.flags(scenes_data, vilt, tmp_path / "two", *more, "--per_device_train_batch_size", 2))
    check_same(tmp_path)
