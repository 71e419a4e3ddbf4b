"""Lists of videos with captions and questions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data.text.captioned_videos import (
    UnreadableFileError,
    frequent_answers,
    read_captioned_videos,
    read_video_questions,
)
from hf_prompt_models.data.text.video_text_dataset import VideoTextDataset
from tests.videos import number_of, write_frames, write_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("videos")
    write_video(directory / "video7.mp4", 12)
    write_frames(directory / "frames.of.one", 4)
    Image.new("RGB", (20, 10), "red").save(directory / "still.jpg")
    (directory / "broken.mp4").write_bytes(b"no video")
    return directory


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_jsonl_json_and_csv_say_the_same(videos: Path, tmp_path: Path) -> None:
    rows = [{"video": "video7.mp4", "caption": "a dog, running"}, {"video": "still.jpg", "caption": "a cat"}]
    lines = write_lines(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["video", "caption"])
        writer.writeheader()
        writer.writerows(rows)
    read = [read_captioned_videos(path, videos).items for path in (lines, tmp_path / "a.json", tmp_path / "a.csv")]
    assert read[0] == read[1] == read[2]
    assert [item.is_image for item in read[0]] == [False, True]
    assert [item.text for item in read[0]] == ["a dog, running", "a cat"]


def test_the_originals_lists_name_videos_without_a_suffix(videos: Path) -> None:
    retrieval = write_lines(videos / "ret.jsonl", [{"clip_name": "video7", "caption": "a dog"}])
    questions = [
        {"video_id": "video7", "question": "Who runs?", "answer": "dog", "answer_type": "what"},
        {"video_id": "frames.of.one", "question": "How many are there?", "answer": "two"},
    ]
    asked = write_lines(videos / "qa.jsonl", questions)
    assert read_captioned_videos(retrieval)[0].video == videos / "video7.mp4"  # the list's own folder
    first, second = read_video_questions([asked]).items
    assert (first.video.name, first.kind, first.answer) == ("video7.mp4", "what", "dog")
    assert (second.video.name, second.kind) == ("frames.of.one", "how")


def test_several_lists_are_one_and_each_video_is_counted_once(videos: Path, tmp_path: Path) -> None:
    lists = [
        write_lines(
            tmp_path / f"{name}.jsonl", [{"video": "video7", "caption": name}, {"image": "still.jpg", "caption": "x"}]
        )
        for name in ("first", "second")
    ]
    both = read_captioned_videos(lists, videos)
    assert both.texts == ["first", "x", "second", "x"]
    assert [video.name for video in both.videos] == ["video7.mp4", "still.jpg"]


def test_broken_videos_are_refused_or_counted_with_their_sentences(videos: Path, tmp_path: Path) -> None:
    names = ["broken.mp4", "video7", "absent", "broken.mp4", "still.jpg"]
    read = read_captioned_videos(
        write_lines(tmp_path / "a.jsonl", [{"video": name, "caption": name} for name in names]), videos
    )
    with pytest.raises(UnreadableFileError, match=r"(?s)2 files cannot be read.*broken\.mp4.*absent"):
        read.readable("refuse", progress=False)
    kept = read.readable("skip", progress=False)
    assert kept.texts == ["video7", "still.jpg"]
    assert [Path(name).name for name in kept.skipped] == ["broken.mp4", "absent"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"video": "a"}\n', "line 1: expected a string in one of the fields 'caption'"),
        ("a.jsonl", '{"caption": "a"}\n', "line 1: expected a string in one of the fields 'video'"),
        ("a.jsonl", '{"video": "a", "caption": "  "}\n', "line 1: expected a string in one of the fields 'caption'"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("a.json", '{"a": 1}', "must contain a list"),
        ("a.json", "[3]", "entry 0: expected an object"),
        ("a.csv", "video,caption\na,b,c\n", "row 1: expected 2 columns"),
        ("a.csv", "video,caption\n", "is empty"),
        ("a.jsonl", "", "is empty"),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_captioned_videos(tmp_path / name)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"video": "a", "caption": "b"}])
    with pytest.raises(ValueError, match="no folder of videos"):
        read_captioned_videos(path, tmp_path / "nowhere")


def test_the_most_frequent_answers_come_first(videos: Path, tmp_path: Path) -> None:
    answers = ["b", "a", "c", "a", "c", "a"]
    rows = [{"video": "video7", "question": "what is it", "answer": answer} for answer in answers]
    questions = read_video_questions(write_lines(tmp_path / "q.jsonl", rows), videos)
    assert frequent_answers(questions, 2) == ["a", "c"]


def test_frames_are_sampled_by_seed_epoch_and_place_alone(videos: Path, tmp_path: Path) -> None:
    rows = [{"video": "video7", "caption": "a"}, {"video": "video7", "caption": "b"}]
    items = read_captioned_videos(write_lines(tmp_path / "a.jsonl", rows), videos).items

    def shown(dataset: VideoTextDataset, index: int) -> list[int]:
        return [number_of(frame) for frame in dataset[index]["frames"]]

    dataset = VideoTextDataset(items, 4, "head_tail", seed=3)
    first = [shown(dataset, 0), shown(dataset, 1)]
    assert first == [shown(dataset, 0), shown(dataset, 1)]
    assert first[0] != first[1]
    for frames in first:
        assert sum(number < 6 for number in frames) == 2
        assert frames == sorted(frames)
    dataset.set_epoch(1)
    assert [shown(dataset, 0), shown(dataset, 1)] != first
    assert shown(VideoTextDataset(items, 4), 0) == [1, 4, 7, 10]
    item = dataset[1]
    assert (item["text"], item["index"]) == ("b", 1)
    assert item["draw"] != dataset[0]["draw"]


def test_what_changes_the_frames_gets_the_items_own_chance(videos: Path, tmp_path: Path) -> None:
    items = read_captioned_videos(
        write_lines(tmp_path / "a.jsonl", [{"image": "still.jpg", "caption": "a"}]), videos
    ).items
    seen = []

    def augment(frames: list[Image.Image], generator: np.random.Generator) -> list[Image.Image]:
        seen.append(generator.random())
        return frames[:1]

    dataset = VideoTextDataset(items, 4, "random", augment)
    assert len(dataset[0]["frames"]) == len(dataset[0]["frames"]) == 1
    assert seen[0] == seen[1]
