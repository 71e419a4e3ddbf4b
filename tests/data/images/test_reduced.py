"""JPEGs that are decoded at a reduced size, and normalisation on the device of the model."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, ImageDataset, resized_side
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.data.images.normalization import normalized_apart, normalized_on_device
from hf_prompt_models.data.videos.dataset import VideoDataset
from hf_prompt_models.models.action_clip.image_processing_action_clip import ActionClipImageProcessor
from hf_prompt_models.playground import CLIP_DIR


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("photos")
    for label in ("a", "b"):
        (directory / label).mkdir()
        coarse = Image.effect_noise((24, 18), 90).convert("RGB")
        coarse.resize((480, 360), Image.Resampling.BICUBIC).save(directory / label / "large.jpg", quality=95)
        coarse.resize((48, 36)).save(directory / label / "image.png")
    return directory


def test_a_jpeg_keeps_at_least_the_side_that_is_needed(folder: Path) -> None:
    file = folder / "a" / "large.jpg"
    sizes = [load_image(file, least_side=side).size for side in (361, 360, 180, 91, 90, 46, 45, 1)]
    assert sizes == [(480, 360)] * 2 + [(240, 180)] * 2 + [(120, 90)] * 2 + [(60, 45)] * 2
    assert load_image(folder / "a" / "image.png", least_side=1).size == (48, 36)
    assert load_image(file).size == (480, 360)


def test_reduced_images_are_close_and_have_another_key(folder: Path) -> None:
    processor = AutoImageProcessor.from_pretrained(CLIP_DIR)
    images = read_labelled_images(folder, "test")
    full, reduced = ImageDataset(images, processor), ImageDataset(images, processor, reduced_jpeg=True)
    assert reduced.least_side == resized_side(processor)
    for index in range(len(full)):
        difference = (full[index]["pixel_values"] - reduced[index]["pixel_values"]).abs().mean()
        is_jpeg = images.names[index].endswith(".jpg")
        assert (difference > 0) == is_jpeg
        assert difference < 0.1
        assert full.key(index) != reduced.key(index)
        assert full.key(index) == images.digest(index)


def test_an_image_processor_without_one_size_is_refused(naflex: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"does not resize images to one size.* --reduced_jpeg"):
        ImageDataset(folder, AutoImageProcessor.from_pretrained(naflex), reduced_jpeg=True)


@pytest.mark.parametrize("checkpoint", ["openai_clip", "siglip", "chinese_clip"])
def test_images_that_are_normalised_on_the_device_have_the_same_values(
    checkpoint: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    processor = AutoImageProcessor.from_pretrained(request.getfixturevalue(checkpoint))
    images = read_labelled_images(folder, "test")
    for dataset in (ImageDataset(images, processor), AugmentedViewDataset(2, images, processor)):
        apart, normalize = normalized_apart(dataset, torch.device("cpu"))
        items = [apart[index] for index in range(2)]
        assert all(item["pixel_values"].dtype == torch.uint8 for item in items)
        batch = normalize({name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in items[0]})
        expected = torch.stack([dataset[index]["pixel_values"] for index in range(2)])
        torch.testing.assert_close(batch["pixel_values"], expected, rtol=0, atol=1e-5)
        assert batch["labels"].tolist() == [dataset[index]["labels"] for index in range(2)]
        assert apart.key(0) == dataset.key(0)
        assert normalized_on_device(dataset, torch.device("cpu")) == (dataset, dict)
        assert normalized_on_device(dataset, torch.device("meta"))[0] is not dataset


@pytest.mark.parametrize("checkpoint", ["naflex", "align"])  # patches, and values that are rescaled twice
def test_image_processors_that_do_more_prepare_images_themselves(
    checkpoint: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    dataset = ImageDataset(folder, AutoImageProcessor.from_pretrained(request.getfixturevalue(checkpoint)))
    assert normalized_on_device(dataset, torch.device("meta"))[0] is dataset


def test_frames_that_are_normalised_on_the_device_have_the_same_values() -> None:
    class Videos:
        """Videos of two random frames."""

        multi_label, labels = False, [0]

        def load(self, index: int, num_frames: int) -> list[Image.Image]:
            return [Image.effect_noise((60, 50), 80).convert("RGB")] * num_frames

        def __len__(self) -> int:
            return 1

    processor = ActionClipImageProcessor.from_pretrained(CLIP_DIR)
    videos = Videos()
    frames = videos.load(0, 2)
    videos.load = lambda index, num_frames: frames  # type: ignore[method-assign]
    dataset = VideoDataset(videos, processor, 2)
    apart, normalize = normalized_apart(dataset, torch.device("cpu"))
    assert apart[0]["pixel_values"].dtype == torch.uint8
    found = normalize({"pixel_values": apart[0]["pixel_values"][None]})["pixel_values"][0]
    torch.testing.assert_close(found, dataset[0]["pixel_values"], rtol=0, atol=1e-5)
