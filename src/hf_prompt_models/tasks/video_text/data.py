"""Texts and videos of a run: training set, test set, and the answers to choose from."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from hf_prompt_models.data.text.captioned_videos import (
    VideoText,
    VideoTexts,
    frequent_answers,
    read_captioned_videos,
    read_video_questions,
)
from hf_prompt_models.models.alpro.recipe_alpro import NUM_ANSWERS, QUESTIONS
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.utils.files import read_json


MAX_ANSWERS_BYTES = 16 * 2**20


def read_sets(arguments: RunArguments) -> tuple[VideoTexts[Any], VideoTexts[Any]]:
    """Return the training set and the test set. Videos that cannot be read are left out or refused."""
    data = arguments.data
    read: Any = read_video_questions if arguments.method.task == QUESTIONS else read_captioned_videos
    train_set = read(data.train_file, data.train_videos)
    test_set = read(data.test_file, data.test_videos or data.train_videos)
    progress = not arguments.training.get("disable_tqdm", False)
    return train_set.readable(data.on_unreadable, progress), test_set.readable(data.on_unreadable, progress)


def answers_of(arguments: RunArguments, train_set: VideoTexts[Any]) -> list[str] | None:
    """Return the answers to choose from, or `None` if the task is not question answering."""
    if arguments.method.task != QUESTIONS:
        return None
    data = arguments.data
    count = data.num_answers or NUM_ANSWERS[arguments.method.dataset or "msrvtt"]
    if data.answers is None:
        return frequent_answers(train_set, count)
    return read_answers(data.answers)[: data.num_answers]


def read_answers(file: str | os.PathLike) -> list[str]:
    """Return answers from a JSON list, or from an object that maps them to indices (`train_ans2label.json`).

    Args:
        file: The JSON file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is neither, contains an answer twice, or the indices are not 0, 1, 2, …; the message
            names the file.
    """
    value = read_json(file, MAX_ANSWERS_BYTES, "lists of answers")
    if isinstance(value, dict):
        if sorted(map(str, value.values())) != sorted(map(str, range(len(value)))):
            raise ValueError(f"{file}: expected the indices 0 to {len(value) - 1} for the answers.")
        value = sorted(value, key=value.__getitem__)
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each.strip() for each in value):
        raise ValueError(f"{file} must be a JSON list of answers, or an object that maps answers to indices.")
    if len(set(value)) < len(value):
        twice = next(each for each in value if value.count(each) > 1)
        raise ValueError(
            f"{file}: the answer {twice!r} is repeated, so the model could not tell them apart. Keep only one."
        )
    return value


def digest(items: Sequence[VideoText]) -> str:
    """Return a digest that changes if the videos, the texts or their order change."""
    told = [[str(value) for value in astuple(item)] for item in items]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def report_cut_sentences(processor: Any, texts: VideoTexts[Any]) -> int:
    """Warn once about all texts whose ends the processor truncates, and return their number."""
    lengths = [(text, processor.sentence_length(text)) for text in texts.texts]
    return report_cut_texts(lengths, processor.max_text_length, texts.source)
