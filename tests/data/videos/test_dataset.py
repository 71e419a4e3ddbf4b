"""Videos for the Trainer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import AutoImageProcessor

from hf_prompt_models.data.videos.augmentation import augment_video
from hf_prompt_models.data.videos.dataset import AugmentedVideoDataset, VideoDataset, VideoViewsDataset, three_crops
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.labelled import LabelledVideos, read_labelled_videos
from hf_prompt_models.data.videos.loading import load_video_views
from tests.videos import numbered, write_frames, write_video


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 40, 20 and 3 frames, in two classes."""
    directory = tmp_path_factory.mktemp("clips")
    for name, count in {"a/0.mp4": 40, "a/1.mp4": 20}.items():
        write_video(directory / name, [numbered(number, width=48) for number in range(count)])
    write_frames(directory / "b" / "2", 3)
    return directory


@pytest.fixture
def videos(directory: Path) -> LabelledVideos:
    return read_labelled_videos(directory, "train")


@pytest.fixture(scope="module")
def image_processor(modern_clip: Path):
    processor = AutoImageProcessor.from_pretrained(modern_clip, backend="pil")
    processor.size, processor.crop_size = {"shortest_edge": 18}, {"height": 16, "width": 16}
    return processor


def frames_of(videos: LabelledVideos, index: int, chosen: list[int]) -> list[Image.Image]:
    return load_video_views(videos.read(index), lambda _: [chosen])[0]


def test_test_videos_are_the_middles_of_segments_as_the_image_processor_makes_them(
    videos: LabelledVideos, image_processor
) -> None:
    dataset = VideoDataset(videos, image_processor, 8)
    for index, chosen in enumerate(
        [[2, 7, 12, 17, 22, 27, 32, 37], [0, 3, 5, 8, 10, 13, 15, 18], [0, 0, 0, 1, 1, 1, 2, 2]]
    ):
        item = dataset[index]
        expected = image_processor(frames_of(videos, index, chosen), return_tensors="pt")["pixel_values"]
        assert item["pixel_values"].shape == (8, 3, 16, 16)
        assert torch.equal(item["pixel_values"], expected)
        assert item["labels"] == int(index == 2)
    assert dataset.labels.tolist() == [0, 0, 1]
    assert [len(dataset.key(0)), dataset.key(0) == dataset.key(1)] == [32, False]
    assert dataset.key(0) != VideoDataset(videos, image_processor, 4).key(0)


def test_videos_with_several_labels_give_ones_and_zeros(directory: Path, image_processor) -> None:
    (directory / "table.csv").write_text("path,labels\na/0.mp4,sit;run\nb/2,eat\n")
    dataset = VideoDataset(read_labelled_videos(directory / "table.csv", "train"), image_processor, 2)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["pixel_values"].shape == (2, 2, 3, 16, 16)
    assert batch["labels"].tolist() == dataset.labels.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert batch["labels"].dtype == torch.float32


def test_views_are_samples_of_frames_by_crops(videos: LabelledVideos, image_processor) -> None:
    dataset = VideoViewsDataset(videos, image_processor, 2, temporal_views=4, spatial_views=3)
    pixels = dataset[0]["pixel_values"]
    assert pixels.shape == (12, 2, 3, 16, 16)
    for view, chosen in enumerate([[2, 22], [7, 27], [12, 32], [17, 37]]):
        frames = [frame.resize((24, 16), Image.Resampling.BICUBIC) for frame in frames_of(videos, 0, chosen)]
        for crop, left in enumerate([0, 4, 8]):
            parts = [frame.crop((left, 0, left + 16, 16)) for frame in frames]
            expected = image_processor(parts, do_resize=False, do_center_crop=False, return_tensors="pt")
            assert torch.equal(pixels[3 * view + crop], expected["pixel_values"])
    keys = {VideoViewsDataset(videos, image_processor, 2, *views).key(0) for views in [(4, 3), (4, 1), (3, 3)]}
    assert len(keys | {VideoDataset(videos, image_processor, 2).key(0)}) == 4
    with pytest.raises(ValueError, match="spatial_views 1 or 3"):
        VideoViewsDataset(videos, image_processor, 2, spatial_views=2)


def test_one_view_is_the_middle(videos: LabelledVideos, image_processor) -> None:
    views = VideoViewsDataset(videos, image_processor, 8, temporal_views=1, spatial_views=1)
    single = VideoDataset(videos, image_processor, 8)
    for index in range(3):
        assert torch.equal(views[index]["pixel_values"][0], single[index]["pixel_values"])


def test_three_crops_lie_along_the_longer_side() -> None:
    wide = Image.fromarray(np.arange(90 * 30, dtype=np.uint8).reshape(30, 90)).convert("RGB")
    for image, boxes in [
        (wide, [(0, 0, 30, 30), (30, 0, 60, 30), (60, 0, 90, 30)]),
        (wide.transpose(Image.Transpose.TRANSPOSE), [(0, 0, 30, 30), (0, 30, 30, 60), (0, 60, 30, 90)]),
    ]:
        assert [crop.tobytes() for crop in three_crops(image, 30)] == [image.crop(box).tobytes() for box in boxes]
    assert {crop.size for crop in three_crops(Image.new("RGB", (1000, 333)), 224)} == {(224, 224)}


def test_training_videos_are_random_segments_augmented(videos: LabelledVideos, image_processor) -> None:
    dataset = AugmentedVideoDataset(videos, image_processor, 4, seed=3, flip=False)
    dataset.set_epoch(2)
    generator = np.random.default_rng([3, 2, 1])
    chosen = segment_indices(20, 4, generator)
    frames = augment_video(frames_of(videos, 1, chosen), 16, generator, flip=False)
    expected = image_processor(frames, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
    assert torch.equal(dataset[1]["pixel_values"], expected)
    assert dataset[1]["labels"] == 0
    fixed = AugmentedVideoDataset(videos, image_processor, 4, random_segments=False, seed=3)
    frames = augment_video(frames_of(videos, 1, [2, 7, 12, 17]), 16, np.random.default_rng([3, 0, 1]))
    expected = image_processor(frames, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
    assert torch.equal(fixed[1]["pixel_values"], expected)


def test_augmentation_depends_on_seed_epoch_and_index_alone(videos: LabelledVideos, image_processor) -> None:
    def view(seed: int, epoch: int, index: int) -> torch.Tensor:
        dataset = AugmentedVideoDataset(videos, image_processor, 4, seed=seed)
        dataset[(index + 1) % 3]  # other reads before
        dataset.set_epoch(epoch)
        return dataset[index]["pixel_values"]

    first = view(1, 0, 0)
    assert first.shape == (4, 3, 16, 16)
    assert torch.equal(first, view(1, 0, 0))
    for other in (view(2, 0, 0), view(1, 1, 0), view(1, 0, 1)):
        assert not torch.equal(first, other)


def test_workers_draw_the_same_and_see_the_epoch_change(videos: LabelledVideos, image_processor) -> None:
    dataset = AugmentedVideoDataset(videos, image_processor, 2, seed=4)
    loader = DataLoader(dataset, batch_size=3, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        seen = next(iter(loader))["pixel_values"]
        assert torch.equal(seen, torch.stack([dataset[index]["pixel_values"] for index in range(3)]))
