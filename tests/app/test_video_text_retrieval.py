"""The video retrieval and video question answering demos, without a browser."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from hf_prompt_models import (
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
)
from hf_prompt_models.app import Options, build
from hf_prompt_models.app import video_text_retrieval as page
from hf_prompt_models.app.clip_search import ClipSearch
from hf_prompt_models.app.components.playable import PREVIEW_FRAMES, playable_copy
from hf_prompt_models.app.video_question_answering import Answerer
from hf_prompt_models.data.videos.loading import load_video, load_video_views
from hf_prompt_models.playground import ALPRO_DIR
from hf_prompt_models.playground.captioned_clips import distinct_clips, write_captioned_clips
from tests.app import page_models


MODEL = Path(ALPRO_DIR)
SENTENCE = distinct_clips("test", 3, 6)[2].caption


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioned")
    write_captioned_clips(folder, seed=3, train=0, test=6, questions=1)
    return folder / "test"


@pytest.fixture
def clips(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "clips"))


@pytest.fixture
def search(clips: Path, tmp_path: Path) -> ClipSearch:
    return ClipSearch(MODEL, Options(clips=clips, device="cpu"), tmp_path / "kept")


# -- finding ---------------------------------------------------------------------------------------------------------


def test_clips_are_those_of_the_pipeline(search: ClipSearch, clips: Path) -> None:
    found, problems = search.search(f" {SENTENCE} ", search.index(), 4)
    pipe = VideoTextRetrievalPipeline(
        model=AlproForVideoTextRetrieval.from_pretrained(MODEL), processor=AutoProcessor.from_pretrained(MODEL)
    )
    expected = pipe(SENTENCE, index=pipe.index_videos(clips), top_k=4)
    assert [clip.name for clip in found] == [Path(each["video"]).name for each in expected]
    assert [clip.score for clip in found] == pytest.approx([each["score"] for each in expected], abs=1e-5)
    assert problems == []
    assert found[0].name == "00002.mp4"
    assert found[0].playable.read_bytes() == (clips / "00002.mp4").read_bytes()


def test_the_clips_are_read_once_until_the_folder_changes(
    search: ClipSearch, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[tuple[int, int]] = []
    assert len(search.index(lambda done, count: progress.append((done, count))).names) == 6
    assert progress == [(6, 6)]
    again = ClipSearch(MODEL, Options(clips=clips, device="cpu"), tmp_path / "kept")
    again.index(lambda done, count: progress.append((done, count)))
    assert progress == [(6, 6)]
    shutil.copyfile(clips / "00000.mp4", clips / "more.mp4")
    assert len(again.index(lambda done, count: progress.append((done, count))).names) == 7
    assert progress == [(6, 6), (7, 7)]


def test_clips_that_cannot_be_read_are_named_on_the_page(
    search: ClipSearch, clips: Path, transformers_records: list[str]
) -> None:
    for number in range(4):
        (clips / f"broken{number}.mp4").write_bytes(b"no video")
    index = search.index()
    transformers_records.clear()  # each is named in a warning, too
    said = page.describe_index(search, index)
    assert "6 videos of clips can be searched" in said
    assert "broken0.mp4, broken1.mp4, broken2.mp4 and 1 more" in said
    assert len(search.search(SENTENCE, index, 10)[0]) == 6


def test_a_clip_that_has_gone_since_is_reported_to_be_gone(search: ClipSearch, clips: Path) -> None:
    index = search.index()
    (clips / "00002.mp4").unlink()
    found, problems = search.search(SENTENCE, index, 3)
    assert len(found) == 2
    assert problems == ["00002.mp4 was found, but can no longer be read."]


@pytest.mark.parametrize(
    ("sentence", "words"), [(" ", "The sentence is empty"), ("red " * 60, "too long: it has 62 tokens")]
)
def test_sentences_that_are_not_read_whole_are_refused(search: ClipSearch, sentence: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        search.search(sentence, search.index(), 3)


def test_a_page_without_clips_reports_which_flag_names_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Pass --clips FOLDER"):
        build(MODEL, Options(device="cpu"))
    with pytest.raises(ValueError, match="There is no folder of clips"):
        build(MODEL, Options(clips=tmp_path / "none", device="cpu"))
    (tmp_path / "empty").mkdir()
    search = ClipSearch(MODEL, Options(clips=tmp_path / "empty", device="cpu"), tmp_path / "kept")
    with pytest.raises(ValueError, match="contains no videos"):
        search.index()


def test_a_clips_name_is_no_markup(search: ClipSearch, clips: Path) -> None:
    (clips / "00002.mp4").rename(clips / "<b>.mp4")
    found, _ = search.search(SENTENCE, search.index(), 1)
    assert "<b>" not in page.caption(1, found[0])


def test_the_page_is_found_by_the_models_configuration(clips: Path) -> None:
    assert build(MODEL, Options(clips=clips, device="cpu")).title == "Video-text retrieval"


# -- playing ---------------------------------------------------------------------------------------------------------


def test_what_browsers_do_not_play_is_shown_by_some_of_its_frames(clips: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(2 * PREVIEW_FRAMES):
        Image.new("RGB", (33, 21), (3 * number, 40, 40)).save(frames / f"{number:03d}.png")
    (clips / "00000.mp4").rename(clips / "other.avi")
    for clip, count in ((frames, PREVIEW_FRAMES), (clips / "other.avi", None)):
        copy = playable_copy(str(clip), tmp_path, clip.name.replace(".", "-"))
        assert copy.suffix == ".mp4"
        counts: list[int] = []
        load_video_views(copy, lambda found, counts=counts: [[counts.append(found) or 0]])
        assert count is None or counts == [count]
    first, last = load_video(tmp_path / "frames.mp4", 2)
    assert first.size == (32, 20)
    assert np.asarray(last)[10, 16, 0] > np.asarray(first)[10, 16, 0] + 60


def test_a_copy_is_made_once(clips: Path, tmp_path: Path) -> None:
    copy = playable_copy(str(clips / "00001.mp4"), tmp_path, "one")
    made = copy.stat().st_mtime_ns
    assert playable_copy(str(clips / "00001.mp4"), tmp_path, "one").stat().st_mtime_ns == made


# -- asking ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answerer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_models.answerer(tmp_path_factory.mktemp("answerer"))


def test_answers_are_the_pipelines_best_first(answerer_dir: Path, drawn: Path) -> None:
    answerer = Answerer(answerer_dir, Options(device="cpu"))
    clip = str(drawn / "00001.mp4")
    shown = answerer.answer(answerer.read(clip), "what color is it?")
    pipe = VideoQuestionAnsweringPipeline(
        model=AlproForVideoQuestionAnswering.from_pretrained(answerer_dir),
        processor=AutoProcessor.from_pretrained(answerer_dir),
    )
    expected = pipe({"video": clip, "question": "what color is it?"}, top_k=5)
    assert re.findall(r'class="name">([^<]*)<', shown) == [each["answer"] for each in expected]
    assert f"{expected[0]['score']:.1%}" in shown


@pytest.mark.parametrize(
    ("question", "words"), [("", "The question is empty"), ("what " * 60, "The question is too long")]
)
def test_questions_that_are_not_read_whole_are_refused(
    answerer_dir: Path, drawn: Path, question: str, words: str
) -> None:
    answerer = Answerer(answerer_dir, Options(device="cpu"))
    with pytest.raises(ValueError, match=words):
        answerer.answer(answerer.read(str(drawn / "00001.mp4")), question)


def test_a_model_that_answers_questions_has_a_page_of_its_own(answerer_dir: Path) -> None:
    assert build(answerer_dir, Options(device="cpu")).title == "Video question answering"
