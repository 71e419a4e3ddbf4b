"""A file that turns out to be unreadable affects only its own row."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hf_prompt_cli.main import main
from hf_prompt_models import (
    ActionClipForVideoClassification,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    ClipZeroShotForImageClassification,
    CptForVisualGrounding,
)
from hf_prompt_models.data.images.loading import UnreadableImageError, load_image
from hf_prompt_models.data.readable import refuse
from hf_prompt_models.playground import ALPRO_DIR, CLIP_DIR, VILT_DIR, draw_example
from hf_prompt_models.tasks.classification import prediction


CLASSES = ["key", "cup"]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Folders of frames, one of them damaged where its check, of the first and the last frame, does not look."""
    clips = tmp_path / "clips"
    for number, name in enumerate(["key/a", "key/damaged", "cup/c", "cup/d"]):
        (clips / name).mkdir(parents=True)
        for frame in range(9):
            draw_example(CLASSES[number // 2], "test", seed=number, index=frame).save(clips / name / f"{frame:03}.png")
    for frame in range(1, 8):
        (clips / "key" / "damaged" / f"{frame:03}.png").write_bytes(b"damaged")
    return clips


def save(model: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    return str(folder)


def action_clip(folder: Path, head: str = "mean") -> str:
    model = ActionClipForVideoClassification.from_backbone(
        CLIP_DIR, CLASSES, num_frames=4, post_network=head, trainable="head"
    )
    return save(model, folder / "model")


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_video_damaged_in_the_middle_costs_its_row_of_the_table(
    workers: str, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    model, table = action_clip(tmp_path), tmp_path / "table.csv"
    flags = ["--csv", str(table), "--top_k", "1", "--batch_size", "2", "--num_workers", workers]
    with pytest.raises(SystemExit, match=r"key/damaged.*Repair or remove it"):
        main(["predict", model, str(clips), *flags])
    assert not table.exists()
    assert main(["predict", model, str(clips), *flags, "--on_unreadable", "skip"]) == 0
    assert [Path(row["video"]).name for row in rows_of(table)] == ["c", "d", "a"]
    assert caplog.text.count("key/damaged") == 1
    assert "Skipped 1 of the 4 videos" in caplog.text
    assert "Skipped 1 of 4 videos that cannot be read." in capsys.readouterr().out


def test_a_batch_of_which_nothing_can_be_read_is_passed_over(clips: Path, tmp_path: Path) -> None:
    model, table = action_clip(tmp_path), tmp_path / "table.csv"
    flags = ["--csv", str(table), "--top_k", "1", "--batch_size", "1", "--on_unreadable", "skip"]
    main(["predict", model, str(clips), *flags])
    assert len(rows_of(table)) == 3
    with pytest.raises(SystemExit, match="None of the videos can be used"):
        main(["predict", model, str(clips / "key" / "damaged"), "--on_unreadable", "skip"])


def test_a_file_that_vanishes_after_its_check_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    model = save(ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, CLASSES), tmp_path / "model")
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(3):
        draw_example("key", "test", seed=0, index=index).save(photos / f"{index}.png")
    classify = prediction.classify_files

    def removing(*arguments: Any, **settings: Any) -> Any:
        (photos / "1.png").unlink()
        return classify(*arguments, **settings)

    monkeypatch.setattr(prediction, "classify_files", removing)
    main(["predict", model, str(photos), "--json", "--on_unreadable", "skip"])
    assert [Path(each["image"]).name for each in json.loads(capsys.readouterr().out)] == ["0.png", "2.png"]


@pytest.mark.parametrize("views", ["1", "2"])
@pytest.mark.parametrize("head", ["mean", "transf"])
def test_evaluation_leaves_out_a_video_damaged_in_the_middle(
    head: str, views: str, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, results = action_clip(tmp_path, head), tmp_path / "results.json"
    flags = ["--test_dir", str(clips), "--json", str(results), "--temporal_views", views, "--feature_cache", "off"]
    with pytest.raises(SystemExit, match="key/damaged"):
        main(["evaluate", model, *flags])
    main(["evaluate", model, *flags, "--on_unreadable", "skip"])
    assert json.loads(results.read_text())["data"]["test_videos"] == 3
    assert "Skipped 1 of the 4 videos" in caplog.text


def test_grounding_leaves_out_the_phrases_of_an_unreadable_image(tmp_path: Path) -> None:
    model = save(CptForVisualGrounding.from_backbone(VILT_DIR), tmp_path / "model")
    scenes, results = tmp_path / "scenes", tmp_path / "results.json"
    scenes.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(scenes / "0.png")
    (scenes / "1.png").write_bytes(b"damaged")
    rows = [
        {"id": index, "file_name": f"{index % 2}.png", "caption": "the key", "bbox": [0, 0, 20, 20]}
        for index in range(5)
    ]
    (scenes / "annotations.json").write_text(json.dumps(rows))
    boxes = [{"box": [0, 0, 20, 20]}, {"box": [22, 4, 20, 30]}]
    (scenes / "proposals.json").write_text(json.dumps({"0.png": boxes, "1.png": boxes}))
    with pytest.raises(SystemExit, match=r"Cannot read the image .*1\.png"):
        main(["evaluate", model, "--test_dir", str(scenes)])
    main(["evaluate", model, "--test_dir", str(scenes), "--json", str(results), "--on_unreadable", "skip"])
    assert json.loads(results.read_text())["data"]["test_expressions"] == 3


def test_questions_and_searches_pass_over_a_video_damaged_in_the_middle(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture, transformers_records: list[str]
) -> None:
    labels = {"id2label": {0: "red", 1: "blue"}, "label2id": {"red": 0, "blue": 1}}
    model = save(AlproForVideoQuestionAnswering.from_pretrained(ALPRO_DIR, **labels), tmp_path / "model")
    transformers_records.clear()  # the head is new
    asked = ["predict", model, str(clips), "--question", "which colour?", "--json"]
    with pytest.raises(SystemExit, match="key/damaged"):
        main(asked)
    main([*asked, "--on_unreadable", "skip"])
    assert len(json.loads(capsys.readouterr().out)) == 3
    search = save(AlproForVideoTextRetrieval.from_pretrained(ALPRO_DIR), tmp_path / "search")
    rows = [{"video": f"{name}", "caption": name} for name in ("key/a", "key/damaged", "cup/c")]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = tmp_path / "results.json"
    test = ["evaluate", search, "--test_file", str(tmp_path / "test.jsonl"), "--test_videos", str(clips)]
    main([*test, "--json", str(results), "--on_unreadable", "skip"])
    data = json.loads(results.read_text())["data"]
    assert (data["test_texts"], len(data["skipped"])) == (2, 1)


def test_a_file_that_is_not_there_is_not_to_be_repaired(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError) as missing:
        load_image(tmp_path / "none.png")
    with pytest.raises(UnreadableImageError, match="Check the path"):
        refuse([missing.value])
    (tmp_path / "torn.png").write_bytes(b"torn")
    with pytest.raises(UnreadableImageError) as torn:
        load_image(tmp_path / "torn.png")
    with pytest.raises(UnreadableImageError, match="Repair or remove it"):
        refuse([torn.value])
