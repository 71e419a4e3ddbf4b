"""Questions about images in the format of VQA (visualqa.org) and OK-VQA."""

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
"""Instruction before the examples in Frozen (arXiv 2106.13884, §4)."""


@dataclass(frozen=True)
class VisualQuestion(Record):
    """A question about an image. Its `id` is that of the image, so that splits keep all questions about one together.

    Attributes:
        question_id: ID of the question.
        question: text of the question.
        answers: answer of each annotator. Empty if the answers are not public.
    """

    question_id: str
    question: str
    answers: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """Prompt for a language model to continue."""
        return f"Question: {self.question} Answer:"

    @property
    def answer(self) -> str:
        """Most frequent answer; the first one if several are equally frequent.

        Raises:
            ValueError: if there are no answers.
        """
        if not self.answers:
            raise ValueError(f"Question {self.question_id} has no answers. Training and evaluation need at least one.")
        return Counter(self.answers).most_common(1)[0][0]


def read_visual_questions(
    questions: str | os.PathLike, annotations: str | os.PathLike | None, image_directory: str | os.PathLike
) -> Records[VisualQuestion]:
    """Read the questions of a published file and, optionally, their answers.

    Args:
        questions: `v2_OpenEnded_mscoco_val2014_questions.json` or a similar file:
            `{"data_subtype": "val2014", "questions": [{"image_id", "question_id", "question"}, …]}`.
        annotations: `v2_mscoco_val2014_annotations.json` or a similar file:
            `{"annotations": [{"question_id", "answers": [{"answer"}, …]}, …]}`. None reads questions without answers.
        image_directory: folder of the images, with COCO's file names: `COCO_val2014_000000000042.jpg`.

    Raises:
        ValueError: if an entry does not have this format, or a question has no answers. The message names the file
            and the entry.
    """
    questions = Path(questions)
    value = read_json(questions, MAX_BYTES, "lists of questions")
    entries = _entries(value, "questions", questions)
    subtype = text_field(value, "data_subtype", str(questions))
    if not subtype.isalnum():  # it is part of the file names and must not change the folder
        raise ValueError(f"{questions}: 'data_subtype' must be a name such as 'val2014', got {subtype[:80]!r}.")
    answers = None if annotations is None else _read_answers(Path(annotations))
    records = []
    for place, entry in enumerate(entries):
        where = f"{questions}, entry {place}"
        question_id, image_id = id_field(entry, "question_id", where), id_field(entry, "image_id", where)
        if not image_id.isdecimal():
            raise ValueError(f"{where}: 'image_id' must be a number, got {image_id[:80]!r}.")
        if answers is not None and question_id not in answers:
            raise ValueError(f"{where}: {annotations} has no answers for question {question_id}.")
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
    """Return a question with `shots` preceding examples, which are sampled from questions about other images.

    Args:
        question: the question.
        examples: questions with answers to sample from.
        shots: number of examples.
        seed: seed of the sample, which also depends on the ID of the question.

    Raises:
        ValueError: if there are too few examples, or the question or a sampled example has no answers.
    """
    others = [index for index, example in enumerate(examples) if example.id != question.id]
    if len(others) < shots:
        raise ValueError(
            f"Expected {shots} examples about other images, but {examples.source} has {len(others)}. Use fewer "
            "shots, or pass more examples."
        )
    drawn = [examples[index] for index in random.Random(f"{seed}/{question.question_id}").sample(others, shots)]
    return Episode(
        id=question.id,
        images=tuple(image for example in [*drawn, question] for image in example.images),
        texts=(*(f"{example.prompt} {example.answer}" for example in drawn), question.prompt),
        answer=question.answer,
    )


def _entries(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    """Return the list of objects `value[name]`, after checking that it is not empty."""
    entries = value.get(name) if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} is not a VQA file. Expected a list {name!r} of objects.")
    return entries


def _read_answers(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the answers of all annotators by question ID."""
    value = read_json(path, MAX_BYTES, "lists of answers")
    answers: dict[str, tuple[str, ...]] = {}
    for place, entry in enumerate(_entries(value, "annotations", path)):
        where = f"{path}, entry {place}"
        people = _entries(entry, "answers", Path(where))
        answers[id_field(entry, "question_id", where)] = tuple(
            text_field(person, "answer", where) for person in people
        )
    return answers
