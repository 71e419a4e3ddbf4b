"""predict.py on folders, and export.py, as run by a user."""

import csv
import json
import runpy
import shutil
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.data.images import files as image_files
from hf_prompt_models.playground import CLIP_DIR, draw_example


SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = ["boat", 'key, "big"', "cup", "größer"]


def script(name: str, *arguments: object) -> None:
    runpy.run_path(str(SCRIPTS / name))["main"]([str(argument) for argument in arguments])


def refused(name: str, *arguments: object) -> str:
    """Return the error message with which a script exits."""
    with pytest.raises(SystemExit) as stop:
        script(name, *arguments)
    return str(stop.value.code)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    CoOpForImageClassification.from_backbone(CLIP_DIR, NAMES, context_init="a photo of a").save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with different scores, so that the order of the answers is tested."""
    directory = tmp_path_factory.mktemp("data") / "photos"
    for number, (folder, name) in enumerate({"red": "boat", "a, b": "key", "c": "cup"}.items()):
        (directory / folder).mkdir(parents=True)
        for index in range(3 if number else 1):
            draw_example(name, "test", seed=0, index=index).save(directory / folder / f"{index:03}.png")
    return directory


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folders_predictions_are_what_the_pipeline_reports_of_each_image(
    workers: int, model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = tmp_path / "new" / "predictions.csv"
    settings = ("--csv", table, "--batch_size", 5, "--top_k", 2, "--num_workers", workers)
    script("predict.py", model, photos, *settings)
    printed = capsys.readouterr().out

    classifier: Any = pipeline("image-classification", model=str(model))
    files = sorted(photos.rglob("*.png"))
    assert len(files) == 7
    expected = [
        (str(file), str(rank), answer["label"], answer["score"])
        for file in files
        for rank, answer in enumerate(classifier(str(file), top_k=2), 1)
    ]
    assert len({round(score, 3) for _, rank, _, score in expected if rank == "1"}) > 4
    rows = read_csv(table)
    assert [(row["image"], row["rank"], row["label"]) for row in rows] == [entry[:3] for entry in expected]
    assert [float(row["score"]) for row in rows] == pytest.approx([entry[3] for entry in expected], rel=1e-4, abs=1e-7)
    assert list(table.parent.iterdir()) == [table]

    counts = Counter(label for _, rank, label, _ in expected if rank == "1")
    assert "7 images" in printed
    for label, count in counts.items():
        assert f"{count:7}  {count / 7:6.1%}  {label}\n" in printed
    assert str(table) in printed


def test_scores_are_the_softmax_of_the_logits(model: Path, photos: Path, capsys: pytest.CaptureFixture) -> None:
    script("predict.py", model, photos, "--json")
    entries = json.loads(capsys.readouterr().out)
    loaded = AutoModelForImageClassification.from_pretrained(model)
    processor = AutoImageProcessor.from_pretrained(model)
    for entry in entries:
        with torch.no_grad():
            logits = loaded(processor(Image.open(entry["image"]), return_tensors="pt").pixel_values).logits[0]
        scores = {prediction["label"]: prediction["score"] for prediction in entry["predictions"]}
        exponentials = np.exp(logits.double().numpy())
        expected = dict(zip(NAMES, exponentials / exponentials.sum(), strict=True))
        assert scores == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert len(entries) == 7


def test_one_decoded_image_is_in_memory_at_a_time(model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[weakref.ref[Image.Image]] = []
    most, right = 0, image_files.load_image

    def counted(*arguments: Any, **kwargs: Any) -> Image.Image:
        nonlocal most
        image = right(*arguments, **kwargs)
        decoded.append(weakref.ref(image))
        most = max(most, sum(reference() is not None for reference in decoded))
        return image

    monkeypatch.setattr(image_files, "load_image", counted)
    script("predict.py", model, photos, "--batch_size", 2)
    assert len(decoded) == 14  # each was checked and then classified
    assert most == 1


def test_unreadable_files_are_refused_by_name_or_skipped(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "photos"
    shutil.copytree(photos, broken)
    (broken / "c" / "001.png").write_bytes(b"no image")
    table = tmp_path / "predictions.csv"
    table.write_text("an earlier one")
    message = refused("predict.py", model, broken, "--csv", table)
    assert "c/001.png" in message
    assert "--on_unreadable skip" in message
    assert table.read_text() == "an earlier one"
    script("predict.py", model, broken, "--csv", table, "--top_k", 1, "--on_unreadable", "skip")
    assert len(read_csv(table)) == 6
    assert "c/001.png" in caplog.text
    assert "6 images" in capsys.readouterr().out


def test_a_folder_without_images_and_bad_numbers_are_refused(model: Path, photos: Path, tmp_path: Path) -> None:
    assert "contains no images" in refused("predict.py", model, tmp_path)
    for flag, value in (("--top_k", 0), ("--batch_size", 0), ("--num_workers", -1)):
        assert refused("predict.py", model, photos, flag, value) == "2"
    assert "is a folder" in refused("predict.py", model, photos, "--csv", tmp_path)


@pytest.mark.parametrize("name", ["predict.py", pytest.param("export.py", marks=pytest.mark.slow)])
def test_a_moved_backbone_is_found_where_the_user_says(name: str, model: Path, photos: Path, tmp_path: Path) -> None:
    moved, picture, output = tmp_path / "model", photos / "red" / "000.png", tmp_path / "model.onnx"
    shutil.copytree(model, moved)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(tmp_path / "gone")}))
    arguments = (moved, picture) if name == "predict.py" else (moved, "--output", output, "--images", picture)
    assert "gone" in refused(name, *arguments)
    script(name, *arguments, "--backbone", CLIP_DIR)
    script(name, *arguments, "--backbone", "playground")


@pytest.mark.slow
def test_an_exported_file_predicts_as_predict_does(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    script("export.py", model, "--output", tmp_path / "onnx" / "model.onnx")
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'onnx' / 'model.onnx'}: " in printed
    assert "On 16 images" in printed
    script("predict.py", model, photos, "--json")
    entries = json.loads(capsys.readouterr().out)

    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    labels = json.loads(session.get_modelmeta().custom_metadata_map["id2label"])
    processor = AutoImageProcessor.from_pretrained(tmp_path / "onnx")
    images = [Image.open(entry["image"]) for entry in entries]
    (logits,) = session.run(None, {"pixel_values": processor(images, return_tensors="np").pixel_values})
    for entry, row in zip(entries, logits, strict=True):
        assert labels[str(row.argmax())] == entry["predictions"][0]["label"]
        assert 1 / np.exp(row - row.max()).sum() == pytest.approx(entry["predictions"][0]["score"], rel=1e-3)


def test_export_refuses_by_name(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    assert "no trained model" in refused("export.py", tmp_path, "--output", output)
    assert "an opset from 18" in refused("export.py", model, "--output", output, "--opset", 3)
    assert refused("export.py", "--help") == "0"
    assert list(tmp_path.iterdir()) == []
