"""Which frames of a video are looked at: temporal segments (TSN, arXiv 1608.00859) as ActionCLIP draws them, and the
random frames of ALPRO.

Sources: ActionCLIP's `datasets/datasets.py` (github.com/sallymmx/ActionCLIP); ALPRO's `src/datasets/dataset_base.py`
(github.com/salesforce/ALPRO).
"""

from itertools import pairwise

import numpy as np


def segment_indices(num_frames: int, num_segments: int, generator: np.random.Generator | None = None) -> list[int]:
    """One frame of each of `num_segments` equal parts of a video, in order.

    A video with fewer frames than segments has some taken twice or more.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_segments: number of frames to take.
        generator: where chance comes from in training: each part then gives a random frame of its own. Default: each
            part gives the one in its middle.

    Returns:
        Indices from 0.
    """
    if generator is None:
        return segment_views(num_frames, num_segments, 1)[0]
    _check(num_frames, num_segments)
    if num_frames <= num_segments:
        repeated = generator.integers(num_frames, size=num_segments - num_frames)
        return sorted([*range(num_frames), *repeated.tolist()])
    ticks = [place * num_frames // num_segments for place in range(num_segments + 1)]
    return [int(generator.integers(start, end)) for start, end in pairwise(ticks)]


def segment_views(num_frames: int, num_segments: int, num_views: int) -> list[list[int]]:
    """Several samples of a video for testing, each of which spans all of it, as those of training do.

    The views lie evenly: cut each segment into `num_views` equal parts, and view `v` takes the middle of part `v`. So
    no frame is taken by two views as long as there are enough of them, and a single view is `segment_indices`, the
    middle of each segment. A video with no more frames than segments gives the same view each time.

    Returns:
        `num_views` lists of `num_segments` indices.
    """
    _check(num_frames, num_segments)
    if num_views < 1:
        raise ValueError(f"At least one view is needed, got {num_views}.")
    if num_frames <= num_segments:
        return [[place * num_frames // num_segments for place in range(num_segments)]] * num_views
    # In floating point and cut off, as the reference does it: indices must be its own to the last one.
    offsets = [((2 * view + 1) * num_frames / (num_views * num_segments) - 1) / 2 for view in range(num_views)]
    return [
        [int(place * num_frames / num_segments + max(offset, 0.0)) for place in range(num_segments)]
        for offset in offsets
    ]


def head_tail_indices(num_frames: int, num_wanted: int, generator: np.random.Generator) -> list[int]:
    """Random frames, one half of them from the first half of a video, the other from the second, in order.

    Where a half has too few, some are taken twice or more. Of an odd number the second half gives one more, where the
    released code would give one too few.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_wanted: number of frames to take.
        generator: where chance comes from.

    Returns:
        Indices from 0.
    """
    _check(num_frames, num_wanted)
    if num_frames == 1:
        return [0] * num_wanted
    middle, first = num_frames // 2, num_wanted // 2
    return [
        *random_indices(middle, first, generator),
        *(middle + index for index in random_indices(num_frames - middle, num_wanted - first, generator)),
    ]


def random_indices(num_frames: int, num_wanted: int, generator: np.random.Generator) -> list[int]:
    """Random frames of a whole video, in order; of a video with too few, all, and some of them twice or more."""
    times, rest = divmod(num_wanted, num_frames)
    drawn = generator.choice(num_frames, size=rest, replace=False).tolist()
    return sorted([*range(num_frames)] * times + drawn)


def _check(num_frames: int, num_segments: int) -> None:
    if num_frames < 1 or num_segments < 1:
        raise ValueError(f"At least one frame and one segment are needed, got {num_frames} and {num_segments}.")
