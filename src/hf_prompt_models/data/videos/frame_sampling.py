"""Frame sampling: temporal segments (TSN, arXiv 1608.00859) as in ActionCLIP, and random frames as in ALPRO.

Sources: ActionCLIP's `datasets/datasets.py` (github.com/sallymmx/ActionCLIP); ALPRO's `src/datasets/dataset_base.py`
(github.com/salesforce/ALPRO).
"""

from itertools import pairwise

import numpy as np


def segment_indices(num_frames: int, num_segments: int, generator: np.random.Generator | None = None) -> list[int]:
    """Return the index of one frame of each of `num_segments` equal parts of a video, in order.

    If the video has fewer frames than segments, some frames are repeated.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_segments: number of frames to take.
        generator: random number generator, for training: a random frame of each part is taken. Default: the middle
            frame of each part.

    Returns:
        `num_segments` frame indices, counted from 0.
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
    """Return the frame indices of several evaluation views, each of which spans the complete video.

    The views are evenly spaced: each segment is divided into `num_views` equal parts, and view `v` takes the middle of
    part `v`. If there are enough frames, no frame is in two views. A single view is `segment_indices` without a
    generator. If the video has no more frames than segments, all views are the same.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_segments: number of frames per view.
        num_views: number of views, at least 1.

    Returns:
        `num_views` lists of `num_segments` frame indices, counted from 0.
    """
    _check(num_frames, num_segments)
    if num_views < 1:
        raise ValueError(f"Expected at least 1 view, got {num_views}.")
    if num_frames <= num_segments:
        return [[place * num_frames // num_segments for place in range(num_segments)]] * num_views
    # In floating point and truncated as in the reference implementation, so that all indices are the same.
    offsets = [((2 * view + 1) * num_frames / (num_views * num_segments) - 1) / 2 for view in range(num_views)]
    return [
        [int(place * num_frames / num_segments + max(offset, 0.0)) for place in range(num_segments)]
        for offset in offsets
    ]


def head_tail_indices(num_frames: int, num_wanted: int, generator: np.random.Generator) -> list[int]:
    """Sample random frames, one half from the first half of a video and the other from the second, in order.

    If a half has too few frames, some are repeated. If the number of frames is odd, the second half gives one more
    frame, whereas the released code returns one frame too few.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_wanted: number of frames to take.
        generator: random number generator.

    Returns:
        `num_wanted` frame indices, counted from 0.
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
    """Sample random frames of a complete video, in order. If it has too few frames, frames are repeated.

    Args:
        num_frames: number of frames of the video, at least 1.
        num_wanted: number of frames to take.
        generator: random number generator.

    Returns:
        `num_wanted` frame indices, counted from 0.
    """
    times, rest = divmod(num_wanted, num_frames)
    drawn = generator.choice(num_frames, size=rest, replace=False).tolist()
    return sorted([*range(num_frames)] * times + drawn)


def _check(num_frames: int, num_segments: int) -> None:
    if num_frames < 1 or num_segments < 1:
        raise ValueError(f"Expected at least 1 frame and 1 segment, got {num_frames} and {num_segments}.")
