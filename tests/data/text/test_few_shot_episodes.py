"""Few-shot questions in the format of the published lists."""

from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.data.images.loading import UnreadableImageError
from hf_prompt_models.data.text.few_shot_episodes import read_episodes
from tests.data.lists import red, write_image, write_json


NAME = "open_ended_mi_shots_1_ways_2_all_questions.json"
ENTRY: dict[str, Any] = {
    "image_1": "open_ended_mi_shots_1_ways_2_id_0_image_1.jpg",
    "caption_1": "This is a dax.",
    "image_2": "open_ended_mi_shots_1_ways_2_id_0_image_2.jpg",
    "caption_2": "This is a blicket.",
    "question": "What is this? This is a",
    "question_image": "open_ended_mi_shots_1_ways_2_id_0_question.jpg",
    "answer": "blicket",
    "question_id": 0,
}


def test_examples_come_in_their_order_and_the_question_last(tmp_path: Path) -> None:
    for number, name in enumerate(("image_1", "image_2", "question_image")):
        write_image(tmp_path / ENTRY[name], red=100 * number)
    episode = read_episodes(write_json(tmp_path / NAME, [ENTRY]))[0]
    shots, (image, question) = episode.load_shots(), episode.load_query()
    assert [text for _, text in shots] == ["This is a dax.", "This is a blicket."]
    assert question == "What is this? This is a"
    assert (episode.id, episode.answer) == ("0", "blicket")
    assert [red(shown) // 90 for shown in (shots[0][0], shots[1][0], image)] == [0, 1, 2]
    asked = read_episodes(tmp_path / NAME, question="Q: What is this? A: This is a")[0]
    assert asked.texts[-1] == "Q: What is this? A: This is a"


def test_a_question_without_one_of_its_images_is_of_no_use(tmp_path: Path) -> None:
    for name in ("image_2", "question_image"):
        write_image(tmp_path / ENTRY[name])
    episodes = read_episodes(write_json(tmp_path / NAME, [ENTRY]))
    with pytest.raises(UnreadableImageError, match="id_0_image_1"):
        episodes.readable("refuse", progress=False)
    with pytest.raises(UnreadableImageError, match="No record"):
        episodes.readable("skip", progress=False)


def left_out(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ENTRY.items() if name not in names}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "Expected a JSON list"),
        ([], "Expected a JSON list"),
        ([ENTRY, 7], "entry 1: expected an object"),
        ([left_out("image_1")], "entry 0: expected 1 to 63 examples .* got 0 images"),
        ([left_out("image_2")], "entry 0: expected 1 to 63 examples .* got 1 images"),
        ([ENTRY | {f"image_{number}": "a" for number in range(3, 65)}], "entry 0: .* got 64 images"),
        ([left_out("caption_2")], "entry 0: 'caption_2' must be a non-empty string"),
        ([left_out("question_image")], "entry 0: 'question_image' must be a non-empty string"),
        ([left_out("question")], "entry 0: 'question' must be a non-empty string"),
        ([left_out("answer")], "entry 0: 'answer' must be a non-empty string"),
        ([ENTRY | {"question_id": None}], "entry 0: 'question_id' must be a number or a string"),
        ([ENTRY | {"image_1": "/etc/passwd"}], "entry 0: '/etc/passwd' is not a path within"),
    ],
)
def test_a_damaged_list_is_refused_by_entry(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{NAME}.*{message}"):
        read_episodes(write_json(tmp_path / NAME, value))


def test_without_an_id_an_episode_is_called_by_its_place(tmp_path: Path) -> None:
    episodes = read_episodes(write_json(tmp_path / NAME, [left_out("question_id"), left_out("question_id")]))
    assert [episode.id for episode in episodes] == ["0", "1"]
