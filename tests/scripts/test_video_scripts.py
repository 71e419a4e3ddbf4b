"""train.py, predict.py and evaluate.py on videos, as a user runs them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForVideoClassification, AutoProcessor, pipeline

from hf_prompt_models import ActionClipForVideoClassification, CoOpForImageClassification
from hf_prompt_models.data.videos import load_video
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.playground.clips import write_video
from tests.scripts.test_few_shot_scripts import refused, script
from tests.videos import write_frames


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


# -- predict.py ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    build().save_pretrained(directory)
    return directory


def build(**choices: Any) -> ActionClipForVideoClassification:
    return ActionClipForVideoClassification.from_backbone(
        CLIP_DIR, list(COLOURS), **{"post_network": "mean", "num_frames": 3} | choices
    )


def predict(*arguments: object) -> None:
    script("predict.py")([str(argument) for argument in arguments])


def test_a_clips_probabilities_are_the_pipelines(model: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    clips = [str(data / "test" / name / "0.mp4") for name in COLOURS]
    classify: Any = pipeline("video-classification", model=str(model))
    predict(model, *clips, "--json", "--batch_size", 2)
    entries = json.loads(capsys.readouterr().out)
    assert [entry["video"] for entry in entries] == clips
    for entry in entries:
        expected = classify(entry["video"], top_k=3)
        assert [each["label"] for each in entry["predictions"]] == [each["label"] for each in expected]
        for found, each in zip(entry["predictions"], expected, strict=True):
            assert found["score"] == pytest.approx(each["score"], rel=1e-4, abs=1e-7)
        assert sum(each["score"] for each in entry["predictions"]) == pytest.approx(1, abs=1e-5)
    predict(model, clips[0], "--top_k", 1)
    best = entries[0]["predictions"][0]
    assert capsys.readouterr().out == f"{clips[0]}\n  {best['score']:7.2%}  {best['label']}\n"


def test_folders_of_clips_and_of_frames_are_predicted(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("a", "with space"):
        write_frames(tmp_path / "folder" / name, 5)
    write_video(tmp_path / "folder" / "clip.mp4", np.full((4, 48, 48, 3), 90, np.uint8))
    (tmp_path / "folder" / "notes.txt").write_text("no video")
    predict(model, tmp_path / "folder", "--csv", tmp_path / "p.csv", "--top_k", 2, "--num_workers", 1)
    assert "3 videos, by the best class" in capsys.readouterr().out
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "rank", "label", "score"]
    names = [tmp_path / "folder" / name for name in ("a", "clip.mp4", "with space") for _ in range(2)]
    assert [row["video"] for row in rows] == list(map(str, names))
    predict(model, tmp_path / "folder" / "a")  # which is a video itself
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'folder' / 'a'}\n")
    (tmp_path / "empty").mkdir()
    assert "holds no videos" in refused("predict.py", model, tmp_path / "empty")


def test_each_class_of_a_model_of_several_labels_has_its_own_probability(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = build(problem_type="multi_label_classification")
    model.save_pretrained(tmp_path)
    clip = data / "test" / "green" / "1.mp4"
    predict(tmp_path, clip, "--json")
    (entry,) = json.loads(capsys.readouterr().out)
    processor = AutoProcessor.from_pretrained(tmp_path)
    with torch.no_grad():
        logits = model.eval()(**processor(images=load_video(clip, 3), return_tensors="pt")).logits[0]
    scores = {each["label"]: each["score"] for each in entry["predictions"]}
    expected = 1 / (1 + np.exp(-logits.double().numpy()))
    assert scores == pytest.approx(dict(zip(COLOURS, expected, strict=True)), rel=1e-4, abs=1e-6)


def test_broken_clips_are_refused_by_name_or_skipped_and_counted(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    good = data / "test" / "red" / "0.mp4"
    for name in ("torn.mp4", "text.mp4"):
        (tmp_path / name).write_bytes(good.read_bytes()[:300] if name == "torn.mp4" else b"no video")
    message = refused("predict.py", model, good, tmp_path / "torn.mp4", tmp_path / "text.mp4")
    assert "torn.mp4" in message
    assert "text.mp4" in message
    predict(model, good, tmp_path / "torn.mp4", tmp_path / "text.mp4", "--on_unreadable", "skip", "--json")
    assert [entry["video"] for entry in json.loads(capsys.readouterr().out)] == [str(good)]
    assert "Skipped 2 of the 3 videos." in caplog.text


def test_a_strip_shows_the_sampled_frames(
    model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]
    frames = np.repeat(np.asarray(colours, np.uint8), 3, axis=0)[:, None, None]  # three of each
    clip = tmp_path / "clip.mp4"
    write_video(clip, np.broadcast_to(frames, (9, 48, 48, 3)).copy())
    predict(model, clip, "--frame_strip", tmp_path / "strip.png")
    assert str(tmp_path / "strip.png") in capsys.readouterr().out
    pixels = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    shown = [np.abs(pixels - colour).max(axis=-1) < 40 for colour in colours]
    places = [np.nonzero(each.any(axis=0))[0].mean() for each in shown]
    assert all(each.sum() > 5000 for each in shown)
    assert places == sorted(places)  # from left to right
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border > 250).all()  # nothing is cut off

    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other" / "CLIP.mp4", np.zeros((2, 48, 48, 3), np.uint8))
    message = refused("predict.py", model, clip, clip, "--frame_strip", tmp_path / "strip.png")
    assert "name a folder" in message
    predict(model, clip, tmp_path / "other" / "CLIP.mp4", "--frame_strip", tmp_path / "strips")
    assert sorted(path.name for path in (tmp_path / "strips").iterdir()) == ["CLIP-2.png", "clip.png"]


def test_pictures_have_no_strip_of_frames(tmp_path: Path, data: Path) -> None:
    CoOpForImageClassification.from_backbone(CLIP_DIR, list(COLOURS), n_ctx=2).save_pretrained(tmp_path)
    assert "classifies images" in refused("predict.py", tmp_path, "a.png", "--frame_strip", tmp_path / "a.png")
