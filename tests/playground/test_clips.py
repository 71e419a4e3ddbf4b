"""Clips: the frames of each motion, opposites with the same frames, and the video folders."""

import runpy
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from transformers import CLIPTokenizer

from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.playground.clips import clip_class_names, write_clip_folder
from hf_prompt_models.playground.motions import FRAMES, OBJECTS, PAIRS, draw_opposites


SCRIPT = Path(__file__).parents[2] / "scripts" / "make_playground.py"


def _decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _videos(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): _decoded(path) for path in sorted(folder.rglob("*.mp4"))}


def _bag(frames: np.ndarray) -> Counter[bytes]:
    return Counter(frame.tobytes() for frame in frames)


def _silhouettes(motion: str, shape: str) -> list[np.ndarray]:
    """Masks of the object, `(frames, 64, 64)`, of three clips on a ground of one colour."""
    masks: list[np.ndarray] = []
    seed = 0
    while len(masks) < 3:
        pair = next(pair for pair in PAIRS if motion in pair)
        frames = draw_opposites(pair, np.random.default_rng(seed), shape)[pair.index(motion)]
        corners = frames[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
        if (corners == corners[0]).all():
            masks.append((frames != corners[0]).any(axis=-1))
        seed += 1
    return masks


def _centre(mask: np.ndarray) -> np.ndarray:
    """The mean (row, column) of what is set."""
    return np.argwhere(mask).mean(axis=0)


def _middle_of_box(mask: np.ndarray) -> np.ndarray:
    places = np.argwhere(mask)
    return (places.min(axis=0) + places.max(axis=0)) / 2


@pytest.mark.parametrize(
    ("motion", "down", "right"),
    [("moving right", 0, 1), ("moving left", 0, -1), ("moving down", 1, 0), ("moving up", -1, 0)],
)
def test_moving_objects_cross_the_image_the_way_that_their_class_says(motion: str, down: int, right: int) -> None:
    for masks in _silhouettes(motion, "tree"):
        course = (_centre(masks[-1]) - _centre(masks[0])) / 64
        assert course @ (down, right) > 0.35
        assert abs(course @ (right, down)) < 0.05


@pytest.mark.parametrize(("motion", "sign"), [("growing", 1), ("shrinking", -1)])
def test_growing_objects_cover_more_and_shrinking_ones_less(motion: str, sign: int) -> None:
    for masks in _silhouettes(motion, "tree"):
        assert sign * np.log2(masks[-1].mean() / masks[0].mean()) > 1.5


@pytest.mark.parametrize(("motion", "sign"), [("turning right", 1), ("turning left", -1)])
def test_the_top_of_what_turns_right_goes_from_left_to_right(motion: str, sign: int) -> None:
    for masks in _silhouettes(motion, "mushroom"):  # its cap is its heavy end
        first, last = ((_centre(mask) - _middle_of_box(mask))[1] for mask in (masks[0], masks[-1]))
        assert sign * first < -1
        assert sign * last > 1


@pytest.mark.parametrize(("motion", "sign"), [("two objects parting", 1), ("two objects colliding", -1)])
def test_parting_objects_get_further_apart_and_colliding_ones_meet(motion: str, sign: int) -> None:
    for masks in _silhouettes(motion, "square"):
        spread = [np.argwhere(mask).std(axis=0).max() for mask in (masks[0], masks[-1])]
        assert sign * (spread[1] - spread[0]) > 4


def test_vanishing_objects_go_once_and_blinking_ones_come_and_go() -> None:
    for masks in _silhouettes("vanishing", "tree"):
        visible = masks.any(axis=(1, 2))
        assert visible[0]
        assert not visible[-1]
        assert np.diff(visible).sum() == 1
    for masks in _silhouettes("blinking", "tree"):
        assert np.diff(masks.any(axis=(1, 2))).sum() in (3, 5)


@pytest.mark.parametrize("pair", PAIRS)
def test_opposites_are_the_same_frames_in_another_order(pair: tuple[str, str]) -> None:
    for seed in range(3):
        first, second = draw_opposites(pair, np.random.default_rng(seed))
        assert _bag(first) == _bag(second)
        assert not np.array_equal(first, second)
        if "vanishing" not in pair:
            assert np.array_equal(first[::-1], second)


def test_draws_differ_in_length_and_look() -> None:
    clips = [draw_opposites(PAIRS[0], np.random.default_rng(seed), size=16)[0] for seed in range(12)]
    assert len({clip.tobytes() for clip in clips}) == 12
    lengths = {len(clip) for clip in clips}
    assert len(lengths) > 4
    assert min(lengths) >= FRAMES[0]
    assert max(lengths) <= FRAMES[1]


def test_unknown_motions_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"Unknown pair \('up', 'down'\). Choose one of .*'moving down', 'moving up'"):
        draw_opposites(("up", "down"), np.random.default_rng(0))


def test_test_labels_are_new_combinations_of_words_seen_in_training() -> None:
    train, test = (clip_class_names("combinations", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60, 20)
    assert not set(train) & set(test)
    assert {word for label in test for word in label.split()} <= {word for label in train for word in label.split()}
    for shape in OBJECTS:  # every test object does both motions of a pair, so that its name does not give them away
        motions = {label.removeprefix(f"a {shape} ") for label in test if label.startswith(f"a {shape} ")}
        assert motions in [set(pair) for pair in PAIRS]
    assert {label.split(maxsplit=2)[2] for label in train} == {motion for pair in PAIRS[:4] for motion in pair}


def test_the_packaged_vocabulary_has_every_word_of_the_combinations_whole() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(CLIP_DIR)
    for label in clip_class_names("combinations", "train"):
        assert len(tokenizer.tokenize(label)) == len(label.split()), label


def test_the_script_writes_as_many_videos_of_every_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["clips", str(tmp_path), "--train_per_class", "1", "--test_per_class", "2"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    videos = _videos(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.*")} == {"000.mp4", "001.mp4"}
    assert Counter(str(Path(name).parent) for name in videos) == {
        f"{split}/{motion}": count for split, count in (("train", 1), ("test", 2)) for pair in PAIRS for motion in pair
    }
    assert len({frames.tobytes() for frames in videos.values()}) == len(videos)
    for split, number in (("train", 0), ("test", 0), ("test", 1)):
        for first, second in PAIRS:
            one, other = (videos[f"{split}/{motion}/{number:03d}.mp4"] for motion in (first, second))
            assert one.shape == other.shape
            assert one.shape[1:] == (64, 64, 3)
            if second != "vanishing":
                assert np.abs(one[::-1].astype(float) - other).mean() < 4  # the encoder is lossy


def test_combinations_show_the_object_and_the_motion_of_their_label(tmp_path: Path) -> None:
    write_clip_folder(tmp_path, seed=0, task="combinations", train_per_class=1, test_per_class=1)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == sorted(
        clip_class_names("combinations", "train")
    )
    videos = _videos(tmp_path / "test")
    assert videos.keys() == {f"{label}/000.mp4" for label in clip_class_names("combinations", "test")}
    rng = np.random.default_rng((7, 0, OBJECTS.index("mushroom"), 0))  # one draw an object, for both of its labels
    down, up = draw_opposites(("moving down", "moving up"), rng, "mushroom")
    assert np.abs(videos["a mushroom moving down/000.mp4"] - down.astype(float)).mean() < 4
    assert np.abs(videos["a mushroom moving up/000.mp4"] - up.astype(float)).mean() < 4


def test_a_seed_names_the_clips_and_fewer_are_the_first_of_more(tmp_path: Path) -> None:
    for name, seed, count in (("one", 5, 1), ("more", 5, 2), ("other", 6, 1)):
        write_clip_folder(tmp_path / name, seed=seed, train_per_class=count, test_per_class=0)
    one, more, other = (_videos(tmp_path / name) for name in ("one", "more", "other"))
    assert one.keys() == other.keys()
    assert one.keys() < more.keys()
    assert all(np.array_equal(one[name], more[name]) for name in one)
    assert len({frames.tobytes() for videos in (one, other) for frames in videos.values()}) == 2 * len(one)


@pytest.mark.parametrize(("encoders", "codec"), [({"libx264"}, "h264"), (set(), "mpeg4")])
def test_videos_hold_every_frame_in_the_available_encoder(
    encoders: set[str], codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not encoders <= av.codecs_available:
        pytest.skip("this PyAV has no libx264")
    monkeypatch.setattr(av, "codecs_available", encoders)
    frames = draw_opposites(PAIRS[1], np.random.default_rng(2))[0]
    write_video(tmp_path / "a clip.mp4", frames)
    with av.open(str(tmp_path / "a clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == codec
        assert container.streams.video[0].average_rate == 12
    decoded = _decoded(tmp_path / "a clip.mp4")
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(float) - frames).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == ["a clip.mp4"]
