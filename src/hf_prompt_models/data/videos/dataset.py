"""PyTorch data sets of labelled videos for the Trainer."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.images.dataset import Epoch
from hf_prompt_models.data.videos.augmentation import augment_video
from hf_prompt_models.data.videos.files import prepare_frames
from hf_prompt_models.data.videos.frame_sampling import segment_views
from hf_prompt_models.data.videos.labelled import LabelledVideos


class _Videos(Dataset):
    """What all data sets of videos have in common."""

    def __init__(self, videos: LabelledVideos, image_processor: Any, num_frames: int):
        self.videos = videos
        self.image_processor = image_processor
        self.num_frames = num_frames
        self._multi_label = videos.multi_label

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def labels(self) -> torch.Tensor:
        """(videos,) class indices, or (videos, classes) ones and zeros."""
        return torch.stack([torch.as_tensor(self._label(index)) for index in range(len(self))])

    def _label(self, index: int) -> int | torch.Tensor:
        label = self.videos.labels[index]
        if not self._multi_label:
            return label
        return torch.zeros(len(self.videos.class_names)).index_fill(0, torch.tensor(label), 1)


class VideoDataset(_Videos):
    """Videos as what the image processor makes of their frames for testing.

    An item is `pixel_values` (frames, 3, height, width) and `labels`: the class index, or, where a video may have
    several, (classes,) ones and zeros in floating point.

    Args:
        videos: the labelled videos.
        image_processor: makes of a list of PIL images `pixel_values` (frames, 3, height, width).
        num_frames: number of frames of a video: the middles of as many segments.
    """

    def __getitem__(self, index: int) -> dict[str, Any]:
        frames = self.videos.load(index, self.num_frames)
        return {"pixel_values": prepare_frames(self.image_processor, frames), "labels": self._label(index)}

    def key(self, index: int) -> bytes:
        """32 bytes that tell the item's pixels, but for the processor, from any other's."""
        return hashlib.sha256(self.videos.digest(index) + self._drawn().encode()).digest()

    def _drawn(self) -> str:
        """Which frames are taken, and what is cut out of them."""
        return f"{self.num_frames} frames"


class VideoViewsDataset(VideoDataset):
    """Several views of each video for testing, whose predictions are to be averaged.

    `pixel_values` are (views, frames, 3, height, width).

    Args:
        temporal_views: number of samples of frames, each of which spans all of a video (`segment_views`).
        spatial_views: 1 is what the image processor cuts out. 3 are the left, middle and right of a picture whose
            shorter side has the crop's size, or its top, middle and bottom. Those of one sample follow one another.
        videos, image_processor, num_frames: as for `VideoDataset`.
    """

    def __init__(
        self,
        videos: LabelledVideos,
        image_processor: Any,
        num_frames: int,
        temporal_views: int = 10,
        spatial_views: int = 3,
    ):
        super().__init__(videos, image_processor, num_frames)
        if temporal_views < 1 or spatial_views not in (1, 3):
            raise ValueError(
                f"temporal_views is at least 1, spatial_views 1 or 3; got {temporal_views} and {spatial_views}."
            )
        self.temporal_views = temporal_views
        self.spatial_views = spatial_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        views = self.videos.load_views(index, lambda count: segment_views(count, self.num_frames, self.temporal_views))
        pixels = [crop for frames in views for crop in self._crops(frames)]
        return {"pixel_values": torch.stack(pixels), "labels": self._label(index)}

    def _drawn(self) -> str:
        return f"{self.num_frames} frames, {self.temporal_views} x {self.spatial_views} views"

    def _crops(self, frames: list[Image.Image]) -> list[torch.Tensor]:
        """Tensors of (frames, 3, height, width), one a spatial view."""
        processor = self.image_processor
        if self.spatial_views == 1:
            return [prepare_frames(self.image_processor, frames)]
        side = processor.crop_size["height"]
        crops = [three_crops(frame, side, processor.resample) for frame in frames]
        return [
            prepare_frames(self.image_processor, view, do_resize=False, do_center_crop=False)
            for view in zip(*crops, strict=True)
        ]


class AugmentedVideoDataset(Epoch, _Videos):
    """A random frame of each segment, and random crops, mirror images and colours, drawn anew each epoch.

    What is drawn for a video depends on `seed`, the epoch and the video's index alone, so that runs can be resumed and
    repeated whatever the number of workers.

    Args:
        random_segments: whether frames are drawn at random; else they are the middles of the segments, as in the
            reference's fine-tuning on HMDB51 and UCF101.
        seed: of all that is drawn.
        augmentation: arguments of `augment_video`.
        videos, image_processor, num_frames: as for `VideoDataset`. The processor only rescales and normalises: the
            crop has the size already.
    """

    def __init__(
        self,
        videos: LabelledVideos,
        image_processor: Any,
        num_frames: int,
        random_segments: bool = True,
        seed: int = 0,
        **augmentation: Any,
    ):
        Epoch.__init__(self)
        _Videos.__init__(self, videos, image_processor, num_frames)
        self.random_segments = random_segments
        self.seed = seed
        self.augmentation = augmentation

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng([self.seed, self.epoch, index])
        frames = self.videos.load(index, self.num_frames, generator if self.random_segments else None)
        frames = augment_video(frames, self.image_processor.crop_size["height"], generator, **self.augmentation)
        return {
            "pixel_values": prepare_frames(self.image_processor, frames, do_resize=False, do_center_crop=False),
            "labels": self._label(index),
        }


def three_crops(image: Image.Image, side: int, resample: int = Image.Resampling.BICUBIC) -> Sequence[Image.Image]:
    """The two ends and the middle, along the longer side, of a picture whose shorter side is resized to `side`."""
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling(resample))
    corners = [((width - side) * part // 2, (height - side) * part // 2) for part in range(3)]
    return [image.crop((left, top, left + side, top + side)) for left, top in corners]
