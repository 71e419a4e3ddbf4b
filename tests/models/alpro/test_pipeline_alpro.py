"""The pipelines over files: an index of videos searched by sentences, and questions about a video."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Pipeline, pipeline

from hf_prompt_models import (
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproVideoIndex,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
)
from hf_prompt_models.data.videos.loading import load_video
from hf_prompt_models.models.alpro.video_index_alpro import digest
from tests.models.action_clip.clips import write_mp4
from tests.models.alpro import little
from tests.tested_method import random_image


ANSWERS = {0: "dog", 1: "red ball", 2: "two"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos, one of them in a folder, and two files that are none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "more").mkdir()
    for place in range(5):
        name = f"more/{place}.mp4" if place == 4 else f"{place}.mp4"
        write_mp4(folder / name, [random_image(7 * place + time, (48, 32)) for time in range(6)])
    (folder / "torn.mp4").write_bytes((folder / "0.mp4").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model = little.lively(AlproForVideoTextRetrieval(little.config()))
    model.processor = little.processor()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(saved: Path) -> VideoTextRetrievalPipeline:
    return pipeline("video-text-retrieval", model=str(saved))


def test_a_folder_is_indexed_and_asked(pipe: VideoTextRetrievalPipeline, clips: Path, tmp_path: Path) -> None:
    index = pipe.index_videos(clips, file=tmp_path / "index.safetensors", batch_size=2)
    files = [str(clips / name) for name in ("0.mp4", "1.mp4", "2.mp4", "3.mp4", "more/4.mp4")]
    assert index.names == files
    assert list(index.skipped) == [str(clips / "torn.mp4")]
    frames = [load_video(file, 2) for file in files]
    scores = pipe.model.rank(["a red dog runs"], frames, k=None)[0]
    expected = [
        {"video": files[place], "score": pytest.approx(scores[place].item(), abs=1e-5)}
        for place in scores.argsort(descending=True).tolist()
    ]
    for kept in (index, tmp_path / "index.safetensors", str(tmp_path / "index.safetensors")):
        assert pipe("a red dog runs", index=kept, k=None) == expected
    json.dumps(pipe("a red dog runs", index=index))
    both = pipe(["a red dog runs", "the cat"], index=index, k=None, top_k=2)
    assert [len(each) for each in both] == [2, 2]
    assert both[0] == expected[:2]
    assert len(pipe("a red dog runs", index=index, k=3, top_k=5)) == 3  # no more are read


def test_an_index_of_another_model_is_refused(pipe: VideoTextRetrievalPipeline, clips: Path) -> None:
    index = pipe.index_videos([clips / "0.mp4"])
    other = little.lively(AlproForVideoTextRetrieval(little.config()), seed=1)
    with pytest.raises(ValueError, match="Index the videos again"):
        index.features_for(other)


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ("missing", "is not a folder of videos"),
        ([], "list of videos is empty"),
        (["torn.mp4", "notes.txt"], "None of the 2 videos can be read"),
        ("empty", "There are no videos in"),
    ],
)
def test_where_there_is_no_video_this_is_reported(
    videos: Any, message: str, pipe: VideoTextRetrievalPipeline, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    given = [clips / name for name in videos] if isinstance(videos, list) else tmp_path / videos
    with pytest.raises(ValueError, match=message):
        pipe.index_videos(given, file=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_files_that_are_no_index_are_refused(pipe: VideoTextRetrievalPipeline, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Create it with index_videos"):
        pipe("a dog", index=tmp_path / "missing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="is not an index of videos"):
        AlproVideoIndex.load(tmp_path / "text")
    index = pipe.index_videos([clips / "0.mp4"])
    AlproVideoIndex(["a", "b"], index.tokens, index.embeds, index.model_digest).save(tmp_path / "short")
    with pytest.raises(ValueError, match="contains 1 videos, but 2 names"):
        AlproVideoIndex.load(tmp_path / "short")


@pytest.mark.parametrize(
    ("sentence", "options", "message"),
    [
        ("a dog", {}, "The videos to search are missing"),
        ("  ", {}, "expects a sentence"),
        ("a dog", {"n": 3}, "does not accept n"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    sentence: str, options: dict, message: str, pipe: VideoTextRetrievalPipeline
) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(sentence, **options)


# -- questions -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> VideoQuestionAnsweringPipeline:
    folder = tmp_path_factory.mktemp("answering")
    config = little.config(id2label=ANSWERS, label2id={name: index for index, name in ANSWERS.items()})
    model = little.lively(AlproForVideoQuestionAnswering(config))
    model.processor = little.processor()
    model.save_pretrained(folder)
    return pipeline("video-question-answering", model=str(folder))


def test_a_question_is_answered_from_the_list(answering: VideoQuestionAnsweringPipeline, clips: Path) -> None:
    frames = load_video(clips / "1.mp4", 2)
    inputs = little.processor()(images=[frames], text=["a dog?"], return_tensors="pt")
    with torch.no_grad():
        chances = answering.model(**inputs).logits[0].softmax(dim=0)
    expected = [
        {"answer": ANSWERS[place], "score": pytest.approx(chances[place].item(), abs=1e-5)}
        for place in chances.argsort(descending=True).tolist()
    ]
    for video in (frames, clips / "1.mp4", str(clips / "1.mp4"), (clips / "1.mp4").read_bytes()):
        assert answering({"video": video, "question": "a dog?"}) == expected
    several = answering([{"video": frames, "question": "a dog?"}] * 2, top_k=1)
    assert several == [expected[:1]] * 2


@pytest.mark.parametrize("asked", ["a dog?", {"video": "clip.mp4"}, {"video": "a", "question": "b", "more": 1}])
def test_inputs_of_another_form_are_refused(asked: Any, answering: VideoQuestionAnsweringPipeline) -> None:
    with pytest.raises(ValueError, match="expects a dict such as"):
        answering(asked)


def test_of_no_inputs_there_are_no_answers(
    pipe: VideoTextRetrievalPipeline, answering: VideoQuestionAnsweringPipeline
) -> None:
    for each in (pipe, answering):
        assert each([]) == each(()) == []


def test_a_pipeline_needs_its_own_kind_of_model(saved: Path, answering: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="needs an AlproForVideoQuestionAnswering"):
        pipeline("video-question-answering", model=str(saved))
    answering.save_pretrained(tmp_path)
    again = pipeline("video-question-answering", model=str(tmp_path))
    assert type(again.processor) is type(answering.processor)
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())


def test_an_index_belongs_to_every_weight_that_its_videos_passed_through() -> None:
    model = little.lively(AlproForVideoTextRetrieval(little.config()))
    before = digest(model)
    model.alpro.text_projection.weight.data += 1  # which no video passes through
    assert digest(model) == before
    for name, parameter in model.alpro.video_model.named_parameters():
        parameter.data.reshape(-1)[-1] += 1
        assert digest(model) != before, name
        parameter.data.reshape(-1)[-1] -= 1
    assert digest(model.half()) != before
