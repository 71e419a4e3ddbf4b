"""Captioned clips: captions and answers are true for the drawn frames, and the files agree."""

import json
import runpy
import sys
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest

from hf_prompt_models.playground.captioned_clips import (
    ANSWERS,
    CLIP_COLOURS,
    VERBS,
    CaptionedClip,
    describe_clip,
    distinct_clips,
    questions_about,
)
from hf_prompt_models.playground.drawing import COLOURS
from hf_prompt_models.playground.motions import OBJECTS
from scripts.playground.alpro import all_captions, question_words


SCRIPT = Path(__file__).parents[2] / "scripts" / "make_playground.py"
CLIPS = [describe_clip("test", 5, index) for index in range(150)]


def _nearest_colour(pixel: np.ndarray) -> str:
    return min(COLOURS, key=lambda name: float(np.abs(np.array(COLOURS[name]) * 255 - pixel).sum()))


def _silhouette(clip: CaptionedClip, frame: int) -> np.ndarray:
    """Return the (64, 64) mask of the pixels that differ from the background."""
    empty = CaptionedClip(clip.motion, (), clip.frames, clip.ground, clip.ground_seed)
    return (clip.draw(64, [frame]) != empty.draw(64, [frame])).any(axis=(0, -1))


def _moments(clip: CaptionedClip, frame: int) -> tuple[float, float, float]:
    """Return the mean column, mean row and area of the drawn objects."""
    places = np.argwhere(_silhouette(clip, frame))
    return float(places[:, 1].mean()), float(places[:, 0].mean()), float(len(places))


def test_a_clip_depends_on_split_seed_and_index_alone() -> None:
    clip, again = describe_clip("test", 3, 4), describe_clip("test", 3, 4)
    assert clip.caption == again.caption
    assert (clip.draw() == again.draw()).all()
    others = [describe_clip("train", 3, 4), describe_clip("test", 4, 4), describe_clip("test", 3, 5)]
    assert all(other.draw(64, [0]).tobytes() != clip.draw(64, [0]).tobytes() for other in others)


def test_some_frames_are_those_of_all() -> None:
    clip = CLIPS[0]
    assert (clip.draw(32, [9, 2]) == clip.draw(32)[[9, 2]]).all()


@pytest.mark.parametrize(
    ("motion", "moment", "sign"),
    [
        ("moving right", 0, 1),
        ("moving left", 0, -1),
        ("moving down", 1, 1),
        ("moving up", 1, -1),
        ("growing", 2, 1),
        ("shrinking", 2, -1),
    ],
)
def test_objects_do_what_captions_say(motion: str, moment: int, sign: int) -> None:
    clips = [clip for clip in CLIPS if clip.motion == motion][:3]
    assert len(clips) == 3
    for clip in clips:
        assert clip.caption.endswith(VERBS[motion])
        first, last = _moments(clip, 0)[moment], _moments(clip, clip.frames - 1)[moment]
        assert sign * (last - first) > (12 if moment < 2 else 300)


@pytest.mark.parametrize(("motion", "sign"), [("turning right", 1), ("turning left", -1)])
def test_turning_right_is_clockwise(motion: str, sign: int) -> None:
    for clip in [clip for clip in CLIPS if clip.motion == motion][:3]:
        (performer,) = clip.performers
        assert sign * (performer.track.angle[-1] - performer.track.angle[0]) > 140


@pytest.mark.parametrize(("motion", "sign"), [("two objects parting", 1), ("two objects colliding", -1)])
def test_two_objects_part_or_collide(motion: str, sign: int) -> None:
    clips = [clip for clip in CLIPS if clip.motion == motion][:3]
    assert len(clips) == 3
    for clip in clips:
        distances = [
            np.abs(one - other).max()
            for one, other in zip(*(each.boxes()[[0, -1], :2] for each in clip.performers), strict=True)
        ]
        assert sign * (distances[1] - distances[0]) > 0.2
        assert len({each.shape for each in clip.performers}) == len({each.colour for each in clip.performers}) == 2


def test_objects_have_the_colours_that_captions_name() -> None:
    plain = [clip for clip in CLIPS if all(each.texture == "plain" for each in clip.performers)][:12]
    for clip in plain:
        picture = clip.draw(64, [clip.frames // 2])[0]
        drawn = picture[_silhouette(clip, clip.frames // 2)]
        found = Counter(_nearest_colour(pixel) for pixel in drawn)
        for performer in clip.performers:
            assert f"{performer.colour} {performer.shape}" in clip.caption
            assert found[performer.colour] > 0.2 * len(drawn)


def test_captions_are_plain_sentences_from_a_known_list() -> None:
    captions = {clip.caption for clip in CLIPS}
    assert captions <= set(all_captions())
    assert len(set(all_captions())) == len(all_captions()) > 500
    assert any(caption.startswith("an orange") for caption in captions)
    assert not any("a orange" in caption for caption in captions)


def test_galleries_have_no_caption_twice() -> None:
    gallery = distinct_clips("test", 1, 120)
    assert len({clip.caption for clip in gallery}) == len(gallery) == 120
    assert [clip.caption for clip in gallery[:40]] == [clip.caption for clip in distinct_clips("test", 1, 40)]


# -- questions -------------------------------------------------------------------------------------------------------


def test_answers_are_true_of_the_caption() -> None:
    for clip in CLIPS:
        looks = {each.shape: each.colour for each in clip.performers}
        for question, answer, kind in questions_about(clip):
            words = question.removesuffix("?").split()
            match kind:
                case "color":
                    assert f"{answer} {words[-1]}" in clip.caption
                case "object":
                    assert f"{words[-2]} {answer}" in clip.caption
                case "action":
                    assert answer == clip.motion.removeprefix("two objects ")
                case "count":
                    assert answer == ("one" if len(looks) == 1 else "two")
                case "place":
                    box = next(each.boxes() for each in clip.performers if each.shape in words)
                    frame = {"beginning": 0, "end": -1}.get(words[-1])
                    box = box.mean(axis=0) if frame is None else box[frame]
                    middle = (box[:2] + box[2:]) / 2
                    axis, low = {"left": (0, True), "right": (0, False), "top": (1, True), "bottom": (1, False)}[
                        answer
                    ]
                    assert (middle[axis] < 0.5) == low
                case _:
                    pytest.fail(f"unknown type {kind}")


def test_each_question_about_a_clip_has_one_answer() -> None:
    for clip in CLIPS:
        asked = Counter(question.question for question in questions_about(clip))
        assert set(asked.values()) == {1}
        assert {question.answer for question in questions_about(clip)} <= set(ANSWERS)


def test_words_of_questions_do_not_answer_them() -> None:
    answers: dict[str, set[str]] = defaultdict(set)
    for index in range(1500):
        for question in questions_about(describe_clip("train", 2, index)):
            answers[question.question].add(question.answer)
    asked = {question: found for question, found in answers.items() if question != "how many objects are there?"}
    assert all(len(found) > 1 for found in asked.values())
    words = set(question_words())
    assert {word for question in answers for word in question.removesuffix("?").split()} <= words
    assert len(answers) > len(OBJECTS) + len(CLIP_COLOURS)


# -- files -----------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_hold_the_clips_and_what_is_reported_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--seed", "4", "--train", "3", "--test", "4", "--questions", "2", "--size", "32"]
    for name in ("one", "two"):
        monkeypatch.setattr(sys, "argv", ["make_playground.py", "captioned_clips", str(tmp_path / name), *flags])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 3 + 4 + 2 * 2
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    clips = distinct_clips("test", 4, 4)
    captions = _rows(tmp_path / "one" / "test" / "captions.jsonl")
    assert captions == [{"video": f"{i:05d}.mp4", "caption": clip.caption} for i, clip in enumerate(clips)]
    by_video = dict(zip((row["video"] for row in captions), clips, strict=True))
    questions = _rows(tmp_path / "one" / "test" / "questions.jsonl")
    assert Counter(row["video"] for row in questions) == dict.fromkeys(by_video, 2)
    for row in questions:
        assert (row["question"], row["answer"], row["answer_type"]) in questions_about(by_video[row["video"]])
    with av.open(str(tmp_path / "one" / "test" / "00000.mp4")) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    drawn = clips[0].draw(32)
    assert decoded.shape == drawn.shape
    assert np.abs(decoded.astype(float) - drawn).mean() < 12
