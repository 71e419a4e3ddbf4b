"""Images for the Trainer."""

import threading
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoImageProcessor

from hf_prompt_models.data.images.dataset import AugmentedImageDataset, ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from tests.pictures import write_pictures


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    return read_labelled_images(write_pictures(tmp_path, {"a": 3, "b": 2}, size=(300, 260)), "train")


@pytest.fixture(scope="module")
def image_processor(modern_clip: Path):
    return AutoImageProcessor.from_pretrained(modern_clip, backend="pil")


def test_test_images_are_what_the_image_processor_makes(images: LabelledImages, image_processor) -> None:
    dataset = ImageDataset(images, image_processor)
    for index, expected_label in enumerate([0, 0, 0, 1, 1]):
        expected = image_processor(images.load(index), return_tensors="pt")["pixel_values"][0]
        assert torch.equal(dataset[index]["pixel_values"], expected)
        assert dataset[index]["labels"] == expected_label


def test_augmentation_depends_on_seed_epoch_and_index_alone(images: LabelledImages, image_processor) -> None:
    def view(seed: int, epoch: int, index: int) -> torch.Tensor:
        dataset = AugmentedImageDataset(images, image_processor, seed=seed)
        dataset[(index + 1) % 5]  # other reads before
        dataset.set_epoch(epoch)
        return dataset[index]["pixel_values"]

    first = view(1, 0, 2)
    assert first.shape == (3, image_processor.crop_size["height"], image_processor.crop_size["width"])
    assert torch.equal(first, view(1, 0, 2))
    for other in (view(2, 0, 2), view(1, 1, 2), view(1, 0, 3)):
        assert not torch.equal(first, other)


def test_a_siglip_has_no_crop_size(images: LabelledImages, siglip: Path) -> None:
    image_processor = AutoImageProcessor.from_pretrained(siglip, backend="pil")
    item = AugmentedImageDataset(images, image_processor)[0]
    assert set(item) == {"pixel_values", "labels"}
    assert item["pixel_values"].shape == (3, 224, 224)


@pytest.mark.parametrize("augmented", [False, True])
def test_images_as_sequences_of_patches_come_whole_and_of_one_length(
    augmented: bool, images: LabelledImages, naflex: Path
) -> None:
    """The processor chooses the size of a crop, too, and keeps its shape."""
    image_processor = AutoImageProcessor.from_pretrained(naflex, backend="pil")
    dataset = (AugmentedImageDataset if augmented else ImageDataset)(images, image_processor)
    batch = next(iter(DataLoader(dataset, batch_size=5)))
    assert batch["pixel_values"].shape == (5, 256, 3 * 16**2)
    assert batch["labels"].tolist() == [0, 0, 0, 1, 1]
    assert torch.equal(batch["pixel_attention_mask"].sum(1), batch["spatial_shapes"].prod(1))
    assert (len(batch["spatial_shapes"].unique(dim=0)) > 1) == augmented
    if not augmented:
        expected = image_processor(images.load(3), return_tensors="pt")
        assert {name: tensor[0].tolist() for name, tensor in expected.items()} == {
            name: batch[name][3].tolist() for name in expected
        }


def test_workers_draw_the_same_views_and_see_the_epoch_change(images: LabelledImages, image_processor) -> None:
    dataset = AugmentedImageDataset(images, image_processor, seed=4)
    loader = DataLoader(dataset, batch_size=5, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        seen = next(iter(loader))["pixel_values"]
        assert torch.equal(seen, torch.stack([dataset[index]["pixel_values"] for index in range(5)]))


@pytest.mark.parametrize("kept_bytes", [0, 3 * 300 * 260 * 2, 2**28])
def test_threads_read_the_items_of_a_batch(
    kept_bytes: int, images: LabelledImages, image_processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hf_prompt_models.data.images.dataset.CACHE_BYTES", kept_bytes)
    expected = AugmentedImageDataset(images, image_processor, seed=4)
    dataset, readers, load = AugmentedImageDataset(images, image_processor, seed=4), set(), LabelledImages.load

    def recorded(self: LabelledImages, *arguments: object, **keywords: object) -> object:
        readers.add(threading.get_ident())
        time.sleep(0.02)  # so that each thread reads some
        return load(self, *arguments, **keywords)

    monkeypatch.setattr(LabelledImages, "load", recorded)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for epoch in range(2):
        for each in (expected, dataset):
            each.set_epoch(epoch)
        (batch,) = DataLoader(dataset, batch_size=5)
        assert torch.equal(batch["pixel_values"], torch.stack([expected[index]["pixel_values"] for index in range(5)]))
    assert len(readers) >= 3  # two threads, and this one
    assert sum(3 * image.width * image.height for image in dataset._cache.values()) <= kept_bytes
