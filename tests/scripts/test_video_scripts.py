"""train.py, predict.py and evaluate.py on videos, as run by a user."""

import csv
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForVideoClassification, AutoProcessor, CLIPVisionModel, pipeline

from hf_prompt_models import ActionClipForVideoClassification, CoOpForImageClassification
from hf_prompt_models.data.videos.dataset import AugmentedVideoDataset, VideoViewsDataset
from hf_prompt_models.data.videos.labelled import LabelledVideos, read_labelled_videos
from hf_prompt_models.data.videos.loading import load_video
from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.models.action_clip import recipe_action_clip
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest
from hf_prompt_models.tasks.video_classification.evaluation import evaluate_videos
from hf_prompt_models.tasks.video_classification.features import has_frozen_frames
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
    ("settings", "augmented"),
    [
        ({}, True),
        ({"trainable": "image"}, True),
        ({"trainable": "head"}, False),
        ({"trainable": "head", "in_network": "shift"}, True),
        ({"trainable": "head", "pre_network": "joint", "post_network": "mean"}, True),
    ],
)
def test_clips_are_augmented_unless_their_features_are_computed_once(
    settings: dict[str, str], augmented: bool, data: Path
) -> None:
    arguments = recipe_action_clip.Arguments(**settings)
    videos = read_labelled_videos(data / "train", "train")
    processor = recipe_action_clip.RECIPE.build_processor(str(CLIP_DIR))
    dataset = recipe_action_clip.RECIPE.build_train_dataset(arguments, videos, processor, seed=1)
    assert isinstance(dataset, AugmentedVideoDataset) == augmented == (not has_frozen_frames(arguments))


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
        assert classify(str(data / "test" / row["video"]), top_k=1)[0]["label"] == row["predicted_class"]


@pytest.mark.slow
def test_several_views_are_averaged(data: Path, tmp_path: Path) -> None:
    settings = ("--trainable", "head", "--post_network", "lstm", "--temporal_views", 2, "--spatial_views", 3)
    script("train.py")(flags(data, tmp_path, *settings, "--learning_rate", 1e-3))
    assert json.loads((tmp_path / "results.json").read_text())["arguments"]["spatial_views"] == 3
    model = AutoModelForVideoClassification.from_pretrained(tmp_path)
    assert {name for name, p in model.named_parameters() if p.requires_grad} <= {
        name for name, _ in model.named_parameters() if name.startswith("post_network.")
    }


@pytest.mark.slow
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
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["test_videos"] == 4


def test_broken_videos_to_train_on_are_listed_with_those_to_test_on_or_skipped(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "test"):
        shutil.copytree(data / split, tmp_path / split)
    (tmp_path / "train" / "red" / "0.mp4").write_bytes(b"no video")
    (tmp_path / "train" / "blue" / "2.mp4").write_bytes((data / "train" / "blue" / "2.mp4").read_bytes()[:-200])
    (tmp_path / "test" / "green" / "1.mp4").write_bytes(b"")
    message = refused("train.py", *flags(tmp_path, tmp_path / "out"))
    assert message.startswith("error: 3 files cannot be read. Repair or remove them, ")
    assert all(name in message for name in ("train/red/0.mp4", "train/blue/2.mp4", "test/green/1.mp4"))
    assert "--on_unreadable skip" in message
    skip = ("--on_unreadable", "skip", "--trainable", "head", "--num_train_epochs", 1)
    script("train.py")(flags(tmp_path, tmp_path / "out", *skip))
    assert f"Skipped 2 of the 9 videos of {tmp_path / 'train'}." in caplog.text
    trained_on = json.loads((tmp_path / "out" / "few_shot.json").read_text())["classes"]
    assert [len(entry["images"]) for entry in trained_on] == [2, 3, 2]


def test_class_folders_are_named_in_words(data: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in COLOURS:
            shutil.copytree(data / split / name, tmp_path / split / f"{name}_thing")
    script("train.py")(flags(tmp_path, tmp_path / "out", "--post_network", "mean", "--max_steps", 1))
    model = AutoModelForVideoClassification.from_pretrained(tmp_path / "out")
    assert sorted(model.config.class_names) == ["blue thing", "green thing", "red thing"]


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
    assert "contains no videos" in refused("predict.py", model, tmp_path / "empty")


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
    with Image.open(tmp_path / "strip.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    shown = [np.abs(pixels - colour).max(axis=-1) < 40 for colour in colours]
    places = [np.nonzero(each.any(axis=0))[0].mean() for each in shown]
    assert all(each.sum() > 5000 for each in shown)
    assert places == sorted(places)  # from left to right
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border > 250).all()  # nothing is cut off

    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other" / "CLIP.mp4", np.zeros((2, 48, 48, 3), np.uint8))
    message = refused("predict.py", model, clip, clip, "--frame_strip", tmp_path / "strip.png")
    assert "Pass a folder" in message
    predict(model, clip, tmp_path / "other" / "CLIP.mp4", "--frame_strip", tmp_path / "strips")
    assert sorted(path.name for path in (tmp_path / "strips").iterdir()) == ["CLIP-2.png", "clip.png"]


def test_images_have_no_strip_of_frames(tmp_path: Path, data: Path) -> None:
    CoOpForImageClassification.from_backbone(CLIP_DIR, list(COLOURS), n_ctx=2).save_pretrained(tmp_path)
    assert "classifies images" in refused("predict.py", tmp_path, "a.png", "--frame_strip", tmp_path / "a.png")


# -- evaluate.py -----------------------------------------------------------------------------------------------------


def evaluate(*arguments: object) -> None:
    script("evaluate.py")([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def mixed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, some of which are in the folder of another class, so that not all predictions can be correct."""
    directory = tmp_path_factory.mktemp("mixed")
    for target, sources in {"red": ["red/0", "red/1", "green/0"], "blue": ["blue/0"], "green": ["blue/1"]}.items():
        (directory / target).mkdir()
        for number, source in enumerate(sources):
            (directory / target / f"{number}.mp4").symlink_to(data / "test" / f"{source}.mp4")
    return directory


def test_a_models_accuracies_are_counted_from_what_the_pipeline_reports(
    model: Path, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    evaluate(model, "--test_dir", mixed, "--json", tmp_path / "e.json", "--confusion_matrix", tmp_path / "c.png")
    classify: Any = pipeline("video-classification", model=str(model))
    right = {
        name: [classify(str(path), top_k=1)[0]["label"] == name for path in (mixed / name).iterdir()]
        for name in COLOURS
    }
    results = json.loads((tmp_path / "e.json").read_text())
    assert results["data"] == {"test": str(mixed), "classes": 3, "test_videos": 5}
    metrics = results["seeds"]["-"]
    assert metrics["accuracy"] == pytest.approx(sum(map(sum, right.values())) / 5)
    assert metrics["mean_class_accuracy"] == pytest.approx(np.mean([np.mean(each) for each in right.values()]))
    assert metrics["mean_class_accuracy"] != metrics["accuracy"] < metrics["top5_accuracy"] == 1
    printed = capsys.readouterr().out
    assert f"the model     accuracy {metrics['accuracy']:.2%}, mean over classes" in printed
    assert "5 videos of 3 classes; chance: accuracy 33.33%, mean over classes 33.33%" in printed
    assert "top-5" not in printed  # which any answer reaches with three classes
    assert "seed -" not in printed
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size[0] > 300


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> LabelledVideos:
    """Wide clips of all colours, of which each view shows others."""
    directory = tmp_path_factory.mktemp("undecided")
    names = list(COLOURS)
    for number, name in enumerate(names):
        (directory / name).mkdir()
        drawn = np.random.default_rng(number).integers(3, size=(12, 1, 3))
        frames = np.asarray([COLOURS[name] for name in names], np.uint8)[drawn].repeat(48, axis=1).repeat(48, axis=2)
        write_video(directory / name / "0.mp4", frames)
    return read_labelled_videos(directory, "test")


def soft(**choices: Any) -> ActionClipForVideoClassification:
    """A model whose probabilities are far from 0 and 1."""
    torch.manual_seed(0)
    model = build(**choices)
    model.config.eval_logit_scale = 5.0
    return model.eval()


def test_views_are_averaged_as_probabilities(undecided: LabelledVideos, tmp_path: Path) -> None:
    network, videos = soft(), undecided
    network.save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    models = ModelsToTest({"-": tmp_path})
    found = evaluate_videos(models, videos, batch_size=2, temporal_views=2, spatial_views=3)["-"].scores
    dataset = VideoViewsDataset(videos, processor.image_processor, 3, 2, 3)
    for row, item in zip(found, dataset, strict=True):
        with torch.no_grad():
            each = [network(pixel_values=view[None]).logits[0].exp() for view in item["pixel_values"]]
        np.testing.assert_allclose(row, torch.stack(each).mean(dim=0).numpy(), atol=1e-5)
    plain = evaluate_videos(models, videos, batch_size=2)["-"].scores
    assert np.abs(plain - found).max() > 1e-3


def test_frozen_frames_give_the_scores_of_pixels(undecided: LabelledVideos, tmp_path: Path) -> None:
    scores = []
    for trainable in ("head", "all"):
        soft(post_network="lstm", trainable=trainable).save_pretrained(tmp_path / trainable)
        models = ModelsToTest({"-": tmp_path / trainable}, feature_cache="off")
        scores.append(evaluate_videos(models, undecided, batch_size=2)["-"].scores)
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert 0.01 < scores[0].min() < scores[0].max() < 0.99


def test_other_classes_and_lists_are_evaluated(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for number, colour in enumerate([(200, 200, 30), (30, 30, 30)]):
        folder = tmp_path / "frames" / f"clip {number}"
        folder.mkdir(parents=True)
        for frame in range(1, 5):
            Image.new("RGB", (48, 48), colour).save(folder / f"img_{frame:05d}.jpg")
    (tmp_path / "list.txt").write_text("frames/clip 0 4 1\nframes/clip 1 4 0\n")
    (tmp_path / "labels.csv").write_text("id,name\n0,black_thing\n1,yellow thing\n")
    settings = ("--test_dir", tmp_path / "list.txt", "--labels", tmp_path / "labels.csv")
    assert "2 class(es) that the model does not" in refused("evaluate.py", model, *settings)
    evaluate(model, *settings, "--set_classes", "--json", tmp_path / "e.json")
    results = json.loads((tmp_path / "e.json").read_text())
    assert results["data"]["classes"] == 2
    assert results["seeds"]["-"]["top5_accuracy"] == 1
    assert "Pass the names of the classes as a CSV" in refused(
        "evaluate.py", model, "--test_dir", tmp_path / "list.txt"
    )
    assert "--dataset does not apply" in refused("evaluate.py", model, "--test_dir", data / "test", "--dataset", "dtd")
    assert refused("evaluate.py", model, "--test_dir", data / "test", "--temporal_views", 0) == "2"


# -- several labels --------------------------------------------------------------------------------------------------


def average_precision(scores: Sequence[float], relevant: Sequence[bool]) -> float:
    """The mean, over those that are relevant, of the precision of the list that ends with each."""
    ranking = sorted(range(len(scores)), key=lambda index: -scores[index])
    found, precisions = 0, []
    for place, index in enumerate(ranking, start=1):
        if relevant[index]:
            found += 1
            precisions.append(found / place)
    return sum(precisions) / len(precisions)


@pytest.mark.slow
def test_videos_with_several_labels_from_training_to_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth = {"train": [["red"], ["green", "red"], ["blue"], ["blue", "green"]], "test": [["red", "blue"], ["green"]]}
    truth["test"] += [["red", "green"], ["blue"]]
    for split, rows in truth.items():
        (tmp_path / split).mkdir()
        lines = ["path,labels"]
        for number, names in enumerate(rows):
            frames = np.zeros((5, 48, 48, 3), np.uint8)
            for place, name in enumerate(names):
                frames[:, :, 24 * place :] = COLOURS[name]
            write_video(tmp_path / split / f"{number}.mp4", frames)
            lines.append(f"{split}/{number}.mp4,{';'.join(names)}")
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    sources = ("--train_dir", tmp_path / "train.csv", "--test_dir", tmp_path / "test.csv")
    run = tmp_path / "run"
    script("train.py")(flags(tmp_path, run, *sources, "--post_network", "conv1d", "--per_device_train_batch_size", 2))
    printed = capsys.readouterr().out
    assert "Mean average precision on 4 test videos of 3 classes" in printed
    assert re.search(r"^Predict with: hf-prompt predict .*run clip\.mp4$", printed, re.MULTILINE)

    network = AutoModelForVideoClassification.from_pretrained(run)
    assert network.config.problem_type == "multi_label_classification"
    classify: Any = pipeline("video-classification", model=str(run))
    said = []
    for number in range(4):
        answers = classify(str(tmp_path / "test" / f"{number}.mp4"), top_k=3)
        said.append({answer["label"]: answer["score"] for answer in answers})
    expected = np.mean(
        [
            average_precision([each[name] for each in said], [name in names for names in truth["test"]])
            for name in COLOURS
        ]
    )
    results = json.loads((run / "results.json").read_text())
    assert results["seeds"]["1"]["mean_average_precision"] == pytest.approx(expected)
    with open(run / "predictions.csv", encoding="utf-8", newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["blue;red", "green", "green;red", "blue"]
    with open(run / "scores.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3
    by_class = [[row for row in rows if row["class"] == name] for name in COLOURS]
    counted = [
        average_precision([float(row["score"]) for row in each], [row["applies"] == "1" for row in each])
        for each in by_class
    ]
    assert np.mean(counted) == pytest.approx(expected)
    shares = [np.mean([row["applies"] == "1" for row in each]) for each in by_class]
    assert f"chance                                   {np.mean(shares):7.2%}" in printed
    assert (run / "zero_shot_scores.csv").is_file()

    evaluate(run, "--test_dir", tmp_path / "test.csv", "--json", tmp_path / "e.json")
    assert json.loads((tmp_path / "e.json").read_text())["accuracy"]["mean"] == pytest.approx(expected)
    assert f"mean average precision {expected:.2%}\n" in capsys.readouterr().out
    script("report.py")([str(run)])
    table = capsys.readouterr().out
    assert "Few-shot classification of videos" in table
    assert ": mAP |" in table
    assert f"| ActionCLIP, all examples | {100 * expected:.2f} |" in table
    picture = ("--confusion_matrix", tmp_path / "c.png")
    message = refused("evaluate.py", run, "--test_dir", tmp_path / "test.csv", *picture)
    assert "has several. Remove the flag" in message
    with_shots = flags(tmp_path, tmp_path / "other", *sources, "--shots", 1)
    assert "Remove --shots" in refused("train.py", *with_shots)


# -- several processes -----------------------------------------------------------------------------------------------


def test_visual_prompts_that_do_not_go_together_are_refused_before_a_video_is_read(tmp_path: Path) -> None:
    message = refused("train.py", *flags(tmp_path / "absent", tmp_path / "out", "--pre_network", "joint"))
    assert "Pass post_network='mean'" in message
