"""Training runs that are killed at any time and resumed give bitwise the same result as uninterrupted ones."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.programs import run_program
from tests.scripts import test_few_shot_scripts as pictures
from tests.scripts import test_grounding_scripts as scenes
from tests.scripts import test_video_scripts as clips
from tests.scripts import test_video_text_scripts as videos_and_texts
from tests.scripts import test_writing_scripts as products_and_texts
from tests.scripts.killed_training import left
from tests.scripts.test_few_shot_scripts import SCRIPTS
from tests.scripts.test_few_shot_scripts import data as pictures_data
from tests.scripts.test_grounding_scripts import data as scenes_data
from tests.scripts.test_grounding_scripts import vilt
from tests.scripts.test_video_scripts import data as clips_data
from tests.scripts.test_video_text_scripts import backbone as alpro
from tests.scripts.test_video_text_scripts import data as captions
from tests.scripts.test_writing_scripts import backbones as language_backbones
from tests.scripts.test_writing_scripts import data as products


__all__ = [
    "alpro",
    "captions",
    "clips_data",
    "language_backbones",
    "pictures_data",
    "products",
    "scenes_data",
    "vilt",
]
ROOT = Path(__file__).parents[2]
COOP = ("--num_train_epochs", 8, "--save_steps", 3, "--use_cpu", "true")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}


def killed(flags: list[str], folder: Path, kills: int) -> dict[str, Any]:
    """Return the report of `killed_training`."""
    flags = [*flags[: flags.index("--output_dir")], *flags[flags.index("--output_dir") + 2 :]]
    request = {"flags": flags, "folder": str(folder), "kills": kills, "seed": kills}
    request["timed"] = kills > 2
    request["has_cache"] = flags[0] in ("coop", "action_clip")
    (folder / "request.json").write_text(json.dumps(request))
    program = [sys.executable, "-m", "tests.scripts.killed_training", str(folder / "request.json")]
    done = run_program(program, seconds=300 + 120 * kills, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(report: dict[str, Any], kills: int) -> None:
    assert report["killed"] == kills
    assert report["resumed"] > 0
    assert report["torn"] == 0
    assert report["differences"]
    assert not any(report["differences"])
    names = {Path(name).name for name in report["files"]}
    assert names >= {"model.safetensors", "trainer_state.json", "results.json"}
    assert names & {"predictions.csv", "predictions.jsonl"}
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.slow
def test_a_training_killed_twice_ends_as_an_undisturbed_one(
    modern_clip: Path, pictures_data: Path, tmp_path: Path
) -> None:
    check(killed(pictures.flags(modern_clip, pictures_data, tmp_path, *COOP), tmp_path, 2), 2)


@pytest.mark.slow
def test_coop_killed_twenty_times(modern_clip: Path, pictures_data: Path, tmp_path: Path) -> None:
    more = ("--seeds", 1, 2, "--eval_strategy", "epoch", "--dataloader_num_workers", 1)
    check(killed(pictures.flags(modern_clip, pictures_data, tmp_path, *COOP, *more), tmp_path, 20), 20)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["all", "head"])
def test_action_clip_killed_eight_times(trainable: str, clips_data: Path, tmp_path: Path) -> None:
    more = ("--trainable", trainable, "--post_network", "transf", "--num_train_epochs", 4, "--use_cpu", "true")
    check(killed(clips.flags(clips_data, tmp_path, *more, "--save_steps", 2), tmp_path, 8), 8)


@pytest.mark.slow
def test_cpt_killed_eight_times(vilt: Path, scenes_data: Path, tmp_path: Path) -> None:
    more = ("--num_train_epochs", 12, "--save_steps", 2, "--sample_regions", "true", "--use_cpu", "true")
    check(killed(scenes.flags(scenes_data, vilt, tmp_path, *more), tmp_path, 8), 8)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--language_model", "playground", "--lora_r", 2)], ids=["whole", "lora"])
def test_mantis_killed_eight_times(
    more: tuple[object, ...], language_backbones: dict[str, Path], products: Path, tmp_path: Path
) -> None:
    if more:
        pytest.importorskip("peft")
    settings = ("--num_train_epochs", 5, "--save_steps", 2, "--use_cpu", "true", "--eval_strategy", "epoch", *more)
    check(
        killed(products_and_texts.flags("mantis", language_backbones, products, tmp_path, *settings), tmp_path, 8), 8
    )


@pytest.mark.slow
def test_alpro_killed_eight_times(alpro: Path, captions: Path, tmp_path: Path) -> None:
    more = ("--num_train_epochs", 5, "--save_steps", 2, "--use_cpu", "true")
    check(killed(videos_and_texts.flags(captions, alpro, "retrieval", tmp_path, *more), tmp_path, 8), 8)


@pytest.mark.slow
def test_the_script_itself_killed_twenty_times(modern_clip: Path, pictures_data: Path, tmp_path: Path) -> None:
    """At any second of its life, imports included."""

    def command(name: str) -> list[str]:
        flags = pictures.flags(modern_clip, pictures_data, tmp_path / name, *COOP, "--num_train_epochs", 40)
        return [sys.executable, str(SCRIPTS / "train.py"), *flags, "--resume_from_checkpoint", "true"]

    started = time.monotonic()
    subprocess.run(command("undisturbed"), env=environment(), capture_output=True, check=True)
    seconds = time.monotonic() - started
    moments, kills, ends = random.Random(0), 0, 0
    while kills < 20 or not ends:
        process = subprocess.Popen(command("killed"), env=environment(), stdout=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0.1, 1) * seconds if kills < 20 else None)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() == -signal.SIGKILL:
            kills += 1
        else:
            assert process.returncode == 0
            ends += 1
    assert left(tmp_path / "killed") == left(tmp_path / "undisturbed")
