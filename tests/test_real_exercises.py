"""Real photos of exercises, the start and the end of each, as clips of two frames, where they are at hand."""

import json
import re
from pathlib import Path

import pytest

from tests.scripts.test_few_shot_scripts import script


SHARED = Path(__file__).parents[2] / "shared"
EXERCISES, CLIP = SHARED / "data" / "exercises", SHARED / "models" / "clip-photos-tiny"

ACTIONS = ("press", "curl", "squat", "raise", "stretch", "row", "extension")

pytestmark = pytest.mark.skipif(not CLIP.is_dir(), reason="needs photos and a model that are not part of the project")


def test_a_head_learns_exercises_from_a_few_clips_of_two_frames(tmp_path: Path) -> None:
    write_clips(tmp_path)
    flags = ["--backbone", CLIP, "--train_dir", tmp_path / "train", "--test_dir", tmp_path / "test", "--num_frames", 2]
    flags += ["--trainable", "head", "--learning_rate", 1e-4, "--shots", 16, "--num_train_epochs", 20]
    flags += ["--dataloader_num_workers", 0, "--save_strategy", "no", "--feature_cache", "off"]
    flags += ["--output_dir", tmp_path / "run"]
    script("train.py")(["action_clip", *map(str, flags)])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["data"]["test_videos"] == 198
    assert results["seeds"]["1"]["accuracy"] > results["zero_shot"]["accuracy"] + 0.08


def write_clips(directory: Path) -> None:
    """Folders of frames by action, of the exercises that name one action: every second for testing."""
    exercises = [json.loads(line) for line in (EXERCISES / "exercises.jsonl").read_text().splitlines()]
    found: dict[str, list[dict]] = {action: [] for action in ACTIONS}
    for exercise in sorted(exercises, key=lambda exercise: exercise["id"]):
        named = [action for action in ACTIONS if re.search(rf"\b{action}(s|es)?\b", exercise["name"].lower())]
        if len(named) == 1:
            found[named[0]].append(exercise)
    for action, of_action in found.items():
        for number, exercise in enumerate(of_action):
            folder = directory / ("test" if number % 2 else "train") / action / exercise["id"]
            folder.mkdir(parents=True)
            for frame, image in enumerate(exercise["images"]):
                (folder / f"{frame}.jpg").symlink_to(EXERCISES / image)
