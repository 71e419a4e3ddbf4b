"""Real photos of exercises, at their start and end, as clips of two frames, where they are available."""

import json
import re
from pathlib import Path

import pytest

from tests.scripts.test_few_shot_scripts import script


SHARED = Path(__file__).parents[2] / "shared"
EXERCISES, CLIP = SHARED / "data" / "exercises", SHARED / "models" / "clip-photos-tiny"

ACTIONS = ("press", "curl", "squat", "raise", "stretch", "row", "extension")

pytestmark = pytest.mark.skipif(not CLIP.is_dir(), reason="needs photos and a model that are not part of the project")


@pytest.mark.slow
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


@pytest.mark.slow
def test_alpro_learns_to_find_exercises_by_their_descriptions(tmp_path: Path) -> None:
    """From nothing, on 655 exercises; 218 others are searched."""
    count = write_captions(tmp_path)
    flags = ["--task", "retrieval", "--from_scratch", "true", "--train_file", tmp_path / "train.jsonl"]
    flags += ["--test_file", tmp_path / "test.jsonl", "--num_frames", 2, "--image_size", 48, "--patch_size", 12]
    flags += ["--hidden_size", 96, "--rand_augment", "true", "--crop", "true", "--learning_rate", 1e-3]
    flags += ["--num_train_epochs", 30, "--per_device_train_batch_size", 32, "--save_strategy", "no"]
    script("train.py")(["alpro", *map(str, flags), "--output_dir", str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "results.json").read_text())["seeds"]["42"]
    assert count == 218
    before, after = (each["contrast"]["median_rank"] for each in (result["before"], result))
    assert before > 0.35 * count
    assert after < 0.25 * count


def write_captions(directory: Path) -> int:
    """Lists of folders of frames with what they show; every fourth exercise is for testing, so many."""
    exercises = [json.loads(line) for line in (EXERCISES / "exercises.jsonl").read_text().splitlines()]
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for number, exercise in enumerate(sorted(exercises, key=lambda exercise: exercise["id"])):
        folder = directory / exercise["id"]
        folder.mkdir()
        for frame, image in enumerate(exercise["images"]):
            (folder / f"{frame}.jpg").symlink_to(EXERCISES / image)
        with_what = {None: "", "other": "", "body only": "with the body only, "}
        equipment = with_what.get(exercise["equipment"], f"with {exercise['equipment']}, ")
        muscles = " and ".join(exercise["primaryMuscles"])
        caption = f"{exercise['name']}: {exercise['category']}, {equipment}for the {muscles}"
        rows["test" if number % 4 == 3 else "train"].append(json.dumps({"video": exercise["id"], "caption": caption}))
    for split, lines in rows.items():
        (directory / f"{split}.jsonl").write_text("\n".join(lines))
    return len(rows["test"])
