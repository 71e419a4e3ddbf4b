"""Frame sampling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.data.videos.frame_sampling import (
    head_tail_indices,
    random_indices,
    segment_indices,
    segment_views,
)


@given(num_frames=st.integers(1, 2000), num_segments=st.integers(1, 64))
def test_the_middle_of_each_segment_is_the_references(num_frames: int, num_segments: int) -> None:
    if num_frames <= num_segments:
        expected = [i * num_frames // num_segments for i in range(num_segments)]
    else:
        expected = [
            int(i * num_frames / num_segments + (num_frames / num_segments - 1) / 2) for i in range(num_segments)
        ]
    assert segment_indices(num_frames, num_segments) == expected
    assert segment_views(num_frames, num_segments, 1) == [expected]


@pytest.mark.parametrize(
    ("num_frames", "num_segments", "expected"),
    [
        (40, 8, [2, 7, 12, 17, 22, 27, 32, 37]),
        (3, 8, [0, 0, 0, 1, 1, 1, 2, 2]),
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (10, 4, [0, 3, 5, 8]),
        (1, 4, [0, 0, 0, 0]),
        (10, 1, [4]),
        (11, 1, [5]),
    ],
)
def test_middles_worked_out_by_hand(num_frames: int, num_segments: int, expected: list[int]) -> None:
    assert segment_indices(num_frames, num_segments) == expected


@given(num_frames=st.integers(1, 100), num_segments=st.integers(1, 20), seed=st.integers(0, 99))
def test_training_draws_a_frame_of_each_segment_and_all_frames_of_short_videos(
    num_frames: int, num_segments: int, seed: int
) -> None:
    drawn = segment_indices(num_frames, num_segments, np.random.default_rng(seed))
    assert drawn == segment_indices(num_frames, num_segments, np.random.default_rng(seed))
    assert len(drawn) == num_segments
    if num_frames <= num_segments:
        assert drawn == sorted(drawn)
        assert set(drawn) == set(range(num_frames))
    else:
        for place, index in enumerate(drawn):
            assert place * num_frames // num_segments <= index < (place + 1) * num_frames // num_segments


def test_training_draws_every_frame_of_a_segment_equally_often() -> None:
    generator = np.random.default_rng(0)
    drawn = np.array([segment_indices(10, 4, generator) for _ in range(3000)])
    for place, (start, end) in enumerate([(0, 2), (2, 5), (5, 7), (7, 10)]):
        counts = np.bincount(drawn[:, place], minlength=10)[start:end]
        assert counts.sum() == 3000
        assert (abs(counts / 3000 - 1 / (end - start)) < 0.04).all()


@given(num_frames=st.integers(1, 500), num_segments=st.integers(1, 16), num_views=st.integers(1, 10))
def test_views_lie_evenly_within_segments_and_share_no_frame_if_there_are_enough(
    num_frames: int, num_segments: int, num_views: int
) -> None:
    views = segment_views(num_frames, num_segments, num_views)
    assert len(views) == num_views
    for view in views:
        assert len(view) == num_segments
        for place, index in enumerate(view):
            assert 0 <= index < num_frames
            # Within the segment: the frames that begin in it.
            assert place * num_frames / num_segments - 1 < index < (place + 1) * num_frames / num_segments
    if num_frames >= num_views * num_segments:
        assert len({index for view in views for index in view}) == num_views * num_segments


def test_views_worked_out_by_hand() -> None:
    assert segment_views(40, 2, 4) == [[2, 22], [7, 27], [12, 32], [17, 37]]
    assert segment_views(8, 1, 2) == [[1], [5]]
    assert segment_views(2, 4, 3) == [[0, 0, 1, 1]] * 3


@pytest.mark.parametrize("counts", [(0, 8, 1), (8, 0, 1), (8, 8, 0)])
def test_nothing_cannot_be_sampled(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="Expected at least 1"):
        segment_views(*counts)


@pytest.mark.parametrize(("frames", "wanted"), [(100, 4), (9, 4), (8, 8), (5, 8), (2, 4), (3, 1), (7, 3), (1, 4)])
def test_head_and_tail_give_half_of_the_frames_each(frames: int, wanted: int) -> None:
    middle = frames // 2
    seen = set()
    for seed in range(200):
        indices = head_tail_indices(frames, wanted, np.random.default_rng(seed))
        seen |= set(indices)
        assert indices == sorted(indices)
        assert len(indices) == wanted
        if frames == 1:
            assert indices == [0] * wanted
            continue
        head, tail = ([i for i in indices if (i < middle) == first] for first in (True, False))
        assert (len(head), len(tail)) == (wanted // 2, wanted - wanted // 2)
        for half, size in ((head, middle), (tail, frames - middle)):
            assert len(set(half)) == min(len(half), size)  # none is taken twice while there are enough
    assert seen == (set(range(frames)) if wanted > 1 or frames == 1 else set(range(middle, frames)))


def test_random_frames_are_of_the_whole_video_and_all_of_a_short_one() -> None:
    draws = [random_indices(10, 3, np.random.default_rng(seed)) for seed in range(100)]
    assert all(draw == sorted(set(draw)) and len(draw) == 3 for draw in draws)
    assert {index for draw in draws for index in draw} == set(range(10))
    assert sorted(set(random_indices(3, 7, np.random.default_rng(0)))) == [0, 1, 2]
    assert len(random_indices(3, 7, np.random.default_rng(0))) == 7
