"""Questions about pictures in the form of VQA (visualqa.org) and OK-VQA."""

import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.data.images.stored import image_file
from hf_prompt_models.data.text.few_shot_episodes import Episode
from hf_prompt_models.data.text.records import MAX_BYTES, Record, Records, id_field, text_field
from hf_prompt_models.utils.files import read_json


INDUCTION = "Please answer the question."
"""Frozen's words before the examples (arXiv 2106.13884, §4)."""


@dataclass(frozen=True)
class VisualQuestion(Record):
    """A question about a picture; its `id` is the picture's, so a split keeps all questions about one together.

    Attributes:
        question_id: the question's.
        question: what is asked.
        answers: what each person answered; none where answers are secret.
    """

    question_id: str
    question: str
    answers: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """What a language model is asked to continue."""
        return f"Question: {self.question} Answer:"

    @property
    def answer(self) -> str:
        """What most people answered; of answers that as many gave, the first.

        Raises:
            ValueError: if there are no answers.
        """
        if not self.answers:
            raise ValueError(f"Question {self.question_id} has no answers.")
        return Counter(self.answers).most_common(1)[0][0]


def read_visual_questions(
    questions: str | os.PathLike, annotations: str | os.PathLike | None, image_directory: str | os.PathLike
) -> Records[VisualQuestion]:
    """The questions of a published file.

    Args:
        questions: `v2_OpenEnded_mscoco_val2014_questions.json` or one like it:
            `{"data_subtype": "val2014", "questions": [{"image_id", "question_id", "question"}, …]}`.
        annotations: `v2_mscoco_val2014_annotations.json` or one like it:
            `{"annotations": [{"question_id", "answers": [{"answer"}, …]}, …]}`; None for questions alone.
        image_directory: where the pictures lie, as COCO names them: `COCO_val2014_000000000042.jpg`.

    Raises:
        ValueError: naming file and entry, if one is not of this form or a question has no answers.
    """
    questions = Path(questions)
    value = read_json(questions, MAX_BYTES, "lists of questions")
    entries = _entries(value, "questions", questions)
    subtype = text_field(value, "data_subtype", str(questions))
    if not subtype.isalnum():  # part of the pictures' names, so it must not lead elsewhere
        raise ValueError(f"{questions}: 'data_subtype' must be a name such as 'val2014'; got {subtype[:80]!r}.")
    answers = None if annotations is None else _read_answers(Path(annotations))
    records = []
    for place, entry in enumerate(entries):
        where = f"{questions}, entry {place}"
        question_id, image_id = id_field(entry, "question_id", where), id_field(entry, "image_id", where)
        if not image_id.isdecimal():
            raise ValueError(f"{where}: 'image_id' must be a number; got {image_id[:80]!r}.")
        if answers is not None and question_id not in answers:
            raise ValueError(f"{where}: {annotations} has no answers to question {question_id}.")
        records.append(
            VisualQuestion(
                id=image_id,
                images=(image_file(Path(image_directory) / f"COCO_{subtype}_{image_id:>012}.jpg"),),
                question_id=question_id,
                question=text_field(entry, "question", where),
                answers=() if answers is None else answers[question_id],
            )
        )
    return Records(str(questions), records)


def with_shots(question: VisualQuestion, examples: Records[VisualQuestion], shots: int, seed: int) -> Episode:
    """A question after `shots` examples, drawn by the seed and the question's id from those about other pictures.

    Raises:
        ValueError: if there are too few examples, or one drawn, or the question, has no answers.
    """
    others = [index for index, example in enumerate(examples) if example.id != question.id]
    if len(others) < shots:
        raise ValueError(f"{shots} examples are wanted; {examples.source} has {len(others)} about other pictures.")
    drawn = [examples[index] for index in random.Random(f"{seed}/{question.question_id}").sample(others, shots)]
    return Episode(
        id=question.id,
        images=tuple(image for example in [*drawn, question] for image in example.images),
        texts=(*(f"{example.prompt} {example.answer}" for example in drawn), question.prompt),
        answer=question.answer,
    )


def _entries(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    """The objects of a list, `value[name]`, of which there is at least one."""
    entries = value.get(name) if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} needs a list {name!r} of objects; it is not a file of VQA's.")
    return entries


def _read_answers(path: Path) -> dict[str, tuple[str, ...]]:
    """What people answered, by the ids of the questions."""
    value = read_json(path, MAX_BYTES, "lists of answers")
    answers: dict[str, tuple[str, ...]] = {}
    for place, entry in enumerate(_entries(value, "annotations", path)):
        where = f"{path}, entry {place}"
        people = _entries(entry, "answers", Path(where))
        answers[id_field(entry, "question_id", where)] = tuple(
            text_field(person, "answer", where) for person in people
        )
    return answers
