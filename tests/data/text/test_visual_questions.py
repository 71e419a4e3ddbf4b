"""Questions and answers in the format of VQA, and the prompts of Frozen for them."""

from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.data.text.visual_questions import read_visual_questions, with_shots
from tests.data.lists import red, write_image, write_json


QUESTIONS: dict[str, Any] = {
    "data_subtype": "val2014",
    "data_type": "mscoco",
    "questions": [
        {"image_id": 42, "question_id": 42000, "question": "What colour?"},
        {"image_id": 42, "question_id": 42001, "question": "How many?"},
        {"image_id": 7, "question_id": 7000, "question": "Is it?"},
    ],
}


def answered(question_id: int, *answers: str) -> dict[str, Any]:
    people = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": place} for place, answer in enumerate(answers)
    ]
    return {"question_id": question_id, "answers": people, "answer_type": "other", "question_type": "what"}


ANNOTATIONS: dict[str, Any] = {
    "annotations": [answered(7000, "no", "yes", "yes"), answered(42001, "2", "1"), answered(42000, "red", "red")]
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_json(tmp_path / "questions.json", QUESTIONS), write_json(tmp_path / "annotations.json", ANNOTATIONS)


def test_questions_meet_their_answers_and_images_by_their_ids(files: tuple[Path, Path], tmp_path: Path) -> None:
    write_image(tmp_path / "val2014" / "COCO_val2014_000000000042.jpg", red=200)
    questions = read_visual_questions(*files, tmp_path / "val2014")
    assert [(question.id, question.question_id) for question in questions] == [
        ("42", "42000"),
        ("42", "42001"),
        ("7", "7000"),
    ]
    assert [question.answers for question in questions] == [("red", "red"), ("2", "1"), ("no", "yes", "yes")]
    assert [question.answer for question in questions] == ["red", "2", "yes"]
    assert questions[0].prompt == "Question: What colour? Answer:"
    assert red(questions[1].load_images()[0]) > 190


def test_questions_may_come_without_answers(files: tuple[Path, Path], tmp_path: Path) -> None:
    question = read_visual_questions(files[0], None, tmp_path)[0]
    assert question.answers == ()
    with pytest.raises(ValueError, match="Question 42000 has no answers"):
        _ = question.answer


def test_examples_are_sampled_by_the_seed_from_other_images(files: tuple[Path, Path], tmp_path: Path) -> None:
    questions = read_visual_questions(*files, tmp_path)
    episode = with_shots(questions[0], questions, shots=1, seed=0)
    assert episode.texts == ("Question: Is it? Answer: yes", "Question: What colour? Answer:")
    assert [Path(image.name).stem[-2:] for image in episode.images] == ["07", "42"]
    assert episode.answer == "red"
    assert {with_shots(questions[2], questions, 1, seed).texts[0] for seed in range(9)} == {
        "Question: What colour? Answer: red",
        "Question: How many? Answer: 2",
    }
    assert with_shots(questions[2], questions, 2, seed=3) == with_shots(questions[2], questions, 2, seed=3)
    assert with_shots(questions[2], questions, 0, seed=0).texts == ("Question: Is it? Answer:",)
    with pytest.raises(ValueError, match=r"Expected 2 examples about other images, but .* has 1"):
        with_shots(questions[0], questions, 2, seed=0)


QUESTION = QUESTIONS["questions"][0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Expected a list 'questions' of objects"),
        (QUESTIONS | {"questions": []}, "Expected a list 'questions' of objects"),
        (QUESTIONS | {"questions": ["what?"]}, "Expected a list 'questions' of objects"),
        (QUESTIONS | {"data_subtype": None}, "'data_subtype' must be a non-empty string"),
        (QUESTIONS | {"data_subtype": "../x"}, "'data_subtype' must be a name"),
        (QUESTIONS | {"questions": [QUESTION | {"question": ""}]}, "entry 0: 'question' must be a non-empty string"),
        (QUESTIONS | {"questions": [QUESTION | {"image_id": "../4"}]}, "entry 0: 'image_id' must be a number"),
        (
            QUESTIONS | {"questions": [QUESTION | {"question_id": 5}]},
            r"entry 0: .*annotations\.json has no answers for",
        ),
    ],
)
def test_damaged_questions_are_refused(files: tuple[Path, Path], value: Any, message: str) -> None:
    write_json(files[0], value)
    with pytest.raises(ValueError, match=rf"questions\.json.*{message}"):
        read_visual_questions(*files, files[0].parent)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "Expected a list 'annotations' of objects"),
        ({"annotations": [answered(42000)]}, "entry 0 .*Expected a list 'answers' of objects"),
        ({"annotations": [answered(42000, "red", "")]}, "entry 0: 'answer' must be a non-empty string"),
    ],
)
def test_damaged_answers_are_refused(files: tuple[Path, Path], value: Any, message: str) -> None:
    write_json(files[1], value)
    with pytest.raises(ValueError, match=rf"annotations\.json.*{message}"):
        read_visual_questions(*files, files[0].parent)
