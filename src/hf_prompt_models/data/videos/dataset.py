"""PyTorch datasets of labelled videos for the Trainer."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from hf_prompt_models.data.images.dataset import Epoch
from hf_prompt_models.data.videos.augmentation import augment_video
from hf_prompt_models.data.videos.files import prepare_frames
from hf_prompt_models.data.videos.frame_sampling import segment_views
from hf_prompt_models.data.videos.labelled import LabelledVideos
from hf_prompt_models.utils.loading import DecodedDataset


class _Videos(DecodedDataset):
    """Base class of the video datasets."""

    def __init__(self, videos: LabelledVideos, image_processor: Any, num_frames: int):
        self.videos = videos
        self.image_processor = image_processor
        self.num_frames = num_frames
        self._multi_label = videos.multi_label

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def labels(self) -> torch.Tensor:
        """Class indices of shape (videos,), or multi-hot labels of shape (videos, classes)."""
        return torch.stack([torch.as_tensor(self._label(index)) for index in range(len(self))])

    def _label(self, index: int) -> int | torch.Tensor:
        label = self.videos.labels[index]
        if not self._multi_label:
            return label
        return torch.zeros(len(self.videos.class_names)).index_fill(0, torch.tensor(label), 1)


class VideoDataset(_Videos):
    """Dataset of preprocessed video frames for evaluation.

    An item holds `pixel_values` of shape (frames, 3, height, width) and `labels`: the class index or, if videos may
    have several labels, a floating-point multi-hot tensor of shape (classes,).

    Args:
        videos: labelled videos.
        image_processor: image processor that converts a list of PIL images to `pixel_values`.
        num_frames: number of frames per video, taken from the middles of as many segments.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models import ActionClipProcessor
        >>> from hf_prompt_models.data import VideoDataset, read_labelled_videos, write_video
        >>> for name in ("falling", "rising"):
        ...     write_video(f"clips/{name}/0.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> image_processor = ActionClipProcessor.from_backbone("playground").image_processor
        >>> dataset = VideoDataset(read_labelled_videos("clips", "test"), image_processor, num_frames=4)
        >>> dataset[1]["pixel_values"].shape, dataset[1]["labels"]
        (torch.Size([4, 3, 48, 48]), 1)

        ```
    """

    def __getitem__(self, index: int) -> dict[str, Any]:
        frames = self.videos.load(index, self.num_frames)
        return {"pixel_values": prepare_frames(self.image_processor, frames), "labels": self._label(index)}

    def key(self, index: int) -> bytes:
        """Return a 32-byte key that identifies the pixels of an item before the image processor is applied."""
        return hashlib.sha256(self.videos.digest(index) + self._sampling_settings().encode()).digest()

    def _sampling_settings(self) -> str:
        """Return a description of the frames and crops of an item, which is part of its key."""
        return f"{self.num_frames} frames"


class VideoViewsDataset(VideoDataset):
    """Dataset of several views of each video for evaluation, whose predictions are meant to be averaged.

    The `pixel_values` of an item have the shape (views, frames, 3, height, width). The spatial views of one temporal
    view follow one another.

    Args:
        videos: labelled videos.
        image_processor: image processor, as for `VideoDataset`.
        num_frames: number of frames per view.
        temporal_views: number of frame samples, each of which spans the complete video (`segment_views`).
        spatial_views: number of crops per frame sample. 1 is the crop of the image processor. 3 are the two ends and
            the middle, along the longer side, of a frame whose shorter side is resized to the crop size.
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
                f"Expected temporal_views >= 1 and spatial_views 1 or 3, got {temporal_views} and {spatial_views}."
            )
        self.temporal_views = temporal_views
        self.spatial_views = spatial_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        views = self.videos.load_views(index, lambda count: segment_views(count, self.num_frames, self.temporal_views))
        pixels = [crop for frames in views for crop in self._crops(frames)]
        return {"pixel_values": torch.stack(pixels), "labels": self._label(index)}

    def _sampling_settings(self) -> str:
        return f"{self.num_frames} frames, {self.temporal_views} x {self.spatial_views} views"

    def _crops(self, frames: list[Image.Image]) -> list[torch.Tensor]:
        """Return one tensor of shape (frames, 3, height, width) per spatial view."""
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
    """Dataset of randomly sampled and augmented video frames, sampled again each epoch.

    A random frame of each segment is taken, and `augment_video` is applied. The samples of a video depend only on
    `seed`, the epoch and the index of the video. Runs can therefore be resumed and reproduced with any number of
    workers.

    Args:
        videos: labelled videos.
        image_processor: image processor. It only rescales and normalises, because the crop already has the right
            size.
        num_frames: number of frames per video.
        random_segments: whether to sample a random frame of each segment. Otherwise the middle frame is taken, as in
            the reference implementation's fine-tuning on HMDB51 and UCF101.
        seed: seed of frame sampling and augmentation.
        **augmentation: keyword arguments for `augment_video`.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models import ActionClipProcessor
        >>> from hf_prompt_models.data import AugmentedVideoDataset, read_labelled_videos, write_video
        >>> for name in ("falling", "rising"):
        ...     write_video(f"clips/{name}/0.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> image_processor = ActionClipProcessor.from_backbone("playground").image_processor
        >>> dataset = AugmentedVideoDataset(read_labelled_videos("clips", "train"), image_processor, num_frames=4)
        >>> dataset.set_epoch(1)  # other frames and crops than in epoch 0
        >>> dataset[0]["pixel_values"].shape
        torch.Size([4, 3, 48, 48])

        ```
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
    """Crop the two ends and the middle, along the longer side, of an image whose shorter side is resized to `side`.

    Args:
        image: the image.
        side: side of the crops in pixels.
        resample: PIL resampling filter.

    Returns:
        Three images of (side, side) pixels.
    """
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling(resample))
    corners = [((width - side) * part // 2, (height - side) * part // 2) for part in range(3)]
    return [image.crop((left, top, left + side, top + side)) for left, top in corners]
