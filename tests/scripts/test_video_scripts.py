"""train.py on a folder of videos, as a user runs it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForVideoClassification, CLIPVisionModel, pipeline

from hf_prompt_models.data.video_writing import write_video
from hf_prompt_models.playground import CLIP_DIR
from tests.scripts.test_few_shot_scripts import refused, script


COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clips")
    for split, count in (("train", 3), ("test", 2)):
        for name, colour in COLOURS.items():
            (directory / split / name).mkdir(parents=True)
            for number in range(count):
                generator = np.random.default_rng([len(split), number])
                frames = np.asarray(colour) + generator.integers(-25, 25, (6, 48, 48, 3))
                write_video(directory / split / name / f"{number}.mp4", frames.clip(0, 255).astype(np.uint8))
    return directory


def flags(data: Path, output_dir: Path, *more: object) -> list[str]:
    settings = {
        "--backbone": CLIP_DIR,
        "--train_dir": data / "train",
        "--test_dir": data / "test",
        "--output_dir": output_dir,
        "--num_frames": 3,
        "--num_train_epochs": 2,
        "--per_device_train_batch_size": 3,
        "--dataloader_num_workers": 0,
        "--disable_tqdm": "true",
    }
    return ["action_clip", *(str(part) for item in settings.items() for part in item), *map(str, more)]


@pytest.mark.parametrize(
    "more",
    [("--trainable", "head", "--post_network", "lstm"), ("--in_network", "shift", "--post_network", "mean")],
    ids=["frozen", "fine-tuned"],
)
def test_a_run_leaves_a_model_whose_predictions_are_those_reported(
    data: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    script("train.py")(flags(data, tmp_path, *more))
    results = json.loads((tmp_path / "results.json").read_text())
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    right = sum(row["label"] == row["predicted_label"] for row in rows)
    assert results["accuracy"]["mean"] == right / 6
    assert results["seeds"]["1"]["top5_accuracy"] == 1.0
    assert results["seeds"]["1"]["steps"] == 6
    classify = pipeline("video-classification", model=str(tmp_path))
    for row in rows:
        assert classify(str(data / "test" / row["image"]), top_k=1)[0]["label"] == row["predicted_class"]


def test_several_views_are_averaged(data: Path, tmp_path: Path) -> None:
    settings = ("--trainable", "head", "--post_network", "lstm", "--temporal_views", 2, "--spatial_views", 3)
    script("train.py")(flags(data, tmp_path, *settings, "--learning_rate", 1e-3))
    assert json.loads((tmp_path / "results.json").read_text())["arguments"]["spatial_views"] == 3
    model = AutoModelForVideoClassification.from_pretrained(tmp_path)
    assert {name for name, p in model.named_parameters() if p.requires_grad} <= {
        name for name, _ in model.named_parameters() if name.startswith("post_network.")
    }


@pytest.mark.parametrize("cache", ["on", "off"])
def test_a_frozen_tower_sees_each_clip_once_for_all_epochs(
    cache: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cache once for all seeds and runs too; without, once a seed."""
    frames: list[int] = []
    forward = CLIPVisionModel.forward

    def counted(self: CLIPVisionModel, pixel_values: torch.Tensor, **settings: object) -> object:
        frames.append(len(pixel_values))
        return forward(self, pixel_values=pixel_values, **settings)

    monkeypatch.setattr(CLIPVisionModel, "forward", counted)
    settings = ["--trainable", "head", "--post_network", "conv1d", "--seeds", 1, 2, "--num_train_epochs", 3]
    settings += ["--feature_cache", tmp_path / "cache" if cache == "on" else "off"]
    script("train.py")(flags(data, tmp_path / "first", *settings))
    train, test = 3 * 9, 3 * 6  # 3 frames each
    assert sum(frames) == (train + test if cache == "on" else 2 * train + test)
    frames.clear()
    if cache == "on":
        script("train.py")(flags(data, tmp_path / "second", *settings))
        assert not frames


def test_broken_videos_are_listed_or_skipped(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name in COLOURS:
        (broken / name).mkdir(parents=True)
        for file in (data / "test" / name).iterdir():
            (broken / name / file.name).write_bytes(file.read_bytes())
    (broken / "red" / "0.mp4").write_bytes(b"no video")
    (broken / "blue" / "1.mp4").write_bytes(b"")
    message = refused("train.py", *flags(data, tmp_path / "out", "--test_dir", broken))
    assert "red/0.mp4" in message
    assert "blue/1.mp4" in message
    skip = ("--test_dir", broken, "--on_unreadable", "skip", "--trainable", "head", "--post_network", "conv1d")
    script("train.py")(flags(data, tmp_path / "out", *skip))
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["test_images"] == 4


def test_a_head_with_nothing_to_train_is_refused(data: Path, tmp_path: Path) -> None:
    message = refused("train.py", *flags(data, tmp_path, "--trainable", "head", "--post_network", "mean"))
    assert "nothing to train" in message
