"""Images and labels of datasets, in memory or saved, and of lists."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as PilImage

from hf_prompt_models.data.few_shot import sample_few_shot
from hf_prompt_models.data.images.dataset import AugmentedImageDataset, ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.readable import UnreadableFileError
from hf_prompt_models.data.streaming import ImageCollator
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.processing_utils import ClipPromptProcessor


NAMES = ["cup", "key", "star"]


def image(number: int = 0) -> PilImage.Image:
    return PilImage.new("RGB", (8, 8), (number, 0, 0))


def labelled(labels: Sequence[Any], images: Sequence[Any] | None = None) -> Dataset:
    images = [image(number) for number in range(len(labels))] if images is None else images
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    return Dataset.from_dict({"image": images, "label": labels}, features=features)


def test_a_data_set_in_memory_is_read(tmp_path: Path) -> None:
    data = labelled([2, 0, 1]).with_transform(lambda rows: {"pixel_values": [0 for _ in rows["image"]]})
    images = read_labelled_images(data)
    assert (images.class_names, images.labels) == (NAMES, [2, 0, 1])
    assert [images.load(index).getpixel((0, 0))[0] for index in range(3)] == [0, 1, 2]
    splits = DatasetDict({"train": labelled([0, 1]), "validation": labelled([2])})
    assert read_labelled_images(splits, "val").labels == [2]
    with pytest.raises(ValueError, match=r"has no split 'test'. Its splits are train, validation"):
        read_labelled_images(splits, "test")
    splits.save_to_disk(tmp_path / "saved")
    assert read_labelled_images(f"{tmp_path}/saved:dev", "train").labels == [2]


def test_the_package_s_data_sets_take_a_data_set() -> None:
    processor = ClipPromptProcessor.from_backbone(CLIP_DIR).image_processor
    data = labelled([2, 0, 1])
    for made in (ImageDataset(data, processor), AugmentedImageDataset(data, processor)):
        assert [item["labels"] for item in made] == [2, 0, 1]
        assert made[0]["pixel_values"].shape == made[1]["pixel_values"].shape
    assert torch.equal(ImageDataset(data, processor).labels, torch.tensor([2, 0, 1]))


def test_streams_and_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="Cannot select rows of a streaming"):
        read_labelled_images(labelled([0, 1]).to_iterable_dataset())
    with pytest.raises(TypeError, match=r"Expected a datasets\.Dataset or the name of a dataset, got list"):
        read_labelled_images([image()])
    with pytest.raises(ValueError, match="has no rows in its split 'train'"):
        read_labelled_images(labelled([]))


@pytest.mark.parametrize(("labels", "bad"), [([1, -1, 0], {1: "-1"}), ([None, 2, 0], {0: "None"})])
def test_rows_without_a_label_are_refused_or_skipped_with_a_count(
    labels: list[Any], bad: dict[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    images = read_labelled_images(labelled(labels))
    for place, shown in bad.items():
        with pytest.raises(UnreadableFileError, match=rf"train\[{place}\] has the label {shown}, .*3 classes, 0 to 2"):
            images.readable("refuse", progress=False)
    with caplog.at_level(logging.WARNING):
        assert len(images.readable("skip", progress=False)) == 2
    assert "Skipped 1 of the 3 images" in caplog.text
    with pytest.raises(UnreadableFileError, match="has the label"):
        ImageDataset(images, None)
    with pytest.raises(UnreadableFileError, match="has the label"):
        sample_few_shot(images.subset_of_classes([0, 1, 2]), 1, seed=0)


@pytest.mark.parametrize("label", [-1, 3, None, math.nan, 1.0, True, "cup", [0, 5]])
def test_what_is_no_index_of_a_class_is_no_label(label: Any) -> None:
    images = LabelledImages("here", NAMES, [0, label], ["a", "b"], lambda index: b"")
    assert [images.has_label(index) for index in range(2)] == [True, False]


def test_few_shot_draws_pass_over_rows_without_a_label(caplog: pytest.LogCaptureFixture) -> None:
    images = read_labelled_images(labelled([0, None, 1, -1, 2]))
    with caplog.at_level(logging.WARNING):
        assert sample_few_shot(images, 1, seed=0, on_unreadable="skip") == [0, 2, 4]
    assert [message[:8] for message in caplog.messages] == ["Skipped."] * 2


def test_rows_without_an_image_are_refused_or_skipped() -> None:
    images = read_labelled_images(labelled([0, 1, 2], [image(), None, image()]))
    with pytest.raises(UnreadableFileError, match=r"train\[1\]: The row has no image"):
        images.readable("refuse", progress=False)
    assert images.readable("skip", progress=False).labels == [0, 2]


def two_columns() -> Dataset:
    features = Features(
        {
            "img": Image(),
            "fine_label": ClassLabel(names=["rose", "oak", "trout"]),
            "coarse_label": ClassLabel(names=["plant", "fish"]),
            "score": Value("float32"),
            "name": Value("string"),
        }
    )
    rows = {"img": [image()] * 3, "fine_label": [0, 1, 2], "coarse_label": [0, 0, 1], "score": [0.5] * 3}
    return Dataset.from_dict(rows | {"name": ["rose", "oak", None]}, features=features)


def test_a_column_is_chosen_and_the_others_are_named(caplog: pytest.LogCaptureFixture) -> None:
    data = two_columns()
    with pytest.raises(ValueError, match=r"several columns of this kind: fine_label, coarse_label.*--label_column"):
        read_labelled_images(data)
    with caplog.at_level(logging.WARNING):
        images = read_labelled_images(data, label_column="coarse_label")
    assert (images.class_names, images.labels) == (["plant", "fish"], [0, 0, 1])
    assert caplog.messages == ["Ignored columns of the dataset 'in memory': fine_label, score, name"]
    assert read_labelled_images(data, label_column="name").labels == [1, 0, None]  # names, sorted
    with pytest.raises(ValueError, match=r"'score' .* has no class names; its type is Value.*cast_column"):
        read_labelled_images(data, label_column="score")
    with pytest.raises(ValueError, match=r"no column 'fine' \(--label_column\)\. Its columns are img, fine_label"):
        read_labelled_images(data, label_column="fine")
    with pytest.raises(ValueError, match="'name' of 'in memory' has 1 class"):
        read_labelled_images(data.select([0, 2]), label_column="name")
    with pytest.raises(ValueError, match="contains no images"):
        read_labelled_images(data, label_column="fine_label", image_column="score")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("split", ["", "Training"])
def test_a_folder_with_a_list_is_read(kind: str, split: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / split
    (folder / "files").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png"):
        image().save(folder / "files" / name)
    rows = [("files/a.png", "cup", "x"), ("files/b.png", "key", "y")]
    text = "file_name,label,note\n" + "".join(f"{','.join(row)}\n" for row in rows)
    if kind == "jsonl":
        text = "\n".join(f'{{"file_name": "{file}", "label": "{label}", "note": "{n}"}}' for file, label, n in rows)
    (folder / f"metadata.{kind}").write_text(text)
    with caplog.at_level(logging.WARNING):
        images = read_labelled_images(tmp_path, "train")
    assert (images.class_names, images.labels, images.names) == (["cup", "key"], [0, 1], [row[0] for row in rows])
    assert "Ignored columns of " in caplog.text
    assert f"Ignored 1 file(s) of {folder} that are images that metadata.{kind} does not list" in caplog.text
    by_note = read_labelled_images(folder / f"metadata.{kind}", label_column="note") if kind == "csv" else None
    assert by_note is None or by_note.class_names == ["x", "y"]
    with pytest.raises(ValueError, match="no column 'labl'"):
        read_labelled_images(tmp_path, "train", label_column="labl")


def test_class_folders_win_over_a_list_unless_a_column_is_named(tmp_path: Path) -> None:
    for name in ("cup", "key"):
        (tmp_path / name).mkdir()
        image().save(tmp_path / name / "1.png")
    (tmp_path / "metadata.csv").write_text("file_name,colour\ncup/1.png,red\nkey/1.png,blue\n")
    assert read_labelled_images(tmp_path).class_names == ["cup", "key"]
    assert read_labelled_images(tmp_path, label_column="colour").class_names == ["blue", "red"]
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(ValueError, match="--label_column applies to datasets and lists"):
        read_labelled_images(tmp_path, label_column="colour")


def test_the_collator_of_rows_names_what_is_no_label() -> None:
    collate = ImageCollator(ClipPromptProcessor.from_backbone(CLIP_DIR).image_processor)
    assert collate([{"image": image(), "label": 1}])["labels"].tolist() == [1]
    for label in (None, -1, 0.0, "cup", True):
        with pytest.raises(ValueError, match="which is not a class index"):
            collate([{"image": image(), "label": label}])
