"""PyTorch dataset of sentences about videos for the Trainer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from hf_prompt_models.data.images.dataset import Epoch
from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.data.videos.frame_sampling import head_tail_indices, random_indices, segment_indices
from hf_prompt_models.utils.loading import DecodedDataset


SAMPLING: Mapping[str, Callable[[int, int, np.random.Generator], list[int]]] = {
    "head_tail": head_tail_indices,
    "random": random_indices,
    "segments": segment_indices,
}
"""Frame sampling for training by name: from each half, from the complete video, or one frame of each equal part."""


class VideoTextDataset(Epoch, DecodedDataset):
    """Dataset of sentences with the frames of their videos.

    An item is a dict with `frames` (PIL images, only one for a still image), `text`, `index` and `draw`, a random
    number that seeds further sampling for the item. All random choices depend only on `seed`, the epoch and the index
    of the item.

    Args:
        items: sentences about videos.
        num_frames: number of frames per video.
        sampling: name in `SAMPLING`, for training: frames are sampled again each epoch. Default: the middle frames of
            as many equal parts, for evaluation.
        augment: function that is given the frames of a video and a random number generator, and returns the augmented
            frames. Default: no augmentation.
        seed: seed of all random choices.
    """

    def __init__(
        self,
        items: Sequence[VideoText],
        num_frames: int,
        sampling: str | None = None,
        augment: Callable[[list[Image.Image], np.random.Generator], list[Image.Image]] | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.items = items
        self.num_frames = num_frames
        self.sampling = sampling
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = np.random.default_rng([self.seed, self.epoch, index])
        if self.sampling is None:
            frames = self.items[index].load(lambda count: segment_indices(count, self.num_frames))
        else:
            draw = SAMPLING[self.sampling]
            frames = self.items[index].load(lambda count: draw(count, self.num_frames, generator))
        if self.augment is not None:
            frames = self.augment(frames, generator)
        number = int(generator.integers(2**31))
        return {"frames": frames, "text": self.items[index].text, "index": index, "draw": number}
