"""PyTorch data set of sentences about videos for the Trainer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.images.dataset import Epoch
from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.data.videos.frame_sampling import head_tail_indices, random_indices, segment_indices


SAMPLING: Mapping[str, Callable[[int, int, np.random.Generator], list[int]]] = {
    "head_tail": head_tail_indices,
    "random": random_indices,
    "segments": segment_indices,
}
"""How frames are drawn in training: of each half, of the whole video, or one of each of equal parts."""


class VideoTextDataset(Epoch, Dataset):
    """Sentences with the frames of their videos.

    An item is a dict of `frames` (PIL images; one of a still picture), `text`, `index` and `draw`, a number for what
    is still to be drawn of it, which depends, as all chance here, on `seed`, the epoch and the item's index alone.

    Args:
        items: the sentences.
        num_frames: number of frames of a video.
        sampling: one of `SAMPLING`, drawn anew each epoch; `None`, for testing, takes the middles of as many parts.
        augment: changes the frames of a video.
        seed: of all that is drawn.
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
