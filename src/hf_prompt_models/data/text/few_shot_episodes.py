"""Open-ended few-shot questions: examples, each a picture and a text, and then a picture to speak about.

The tasks that Frozen (arXiv 2106.13884) is tested with: open-ended and real-name miniImageNet, Fast-VQA and
Guided-VQA.
"""

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from hf_prompt_models.data.images.stored import image_file
from hf_prompt_models.data.text.records import MAX_BYTES, MAX_IMAGES, Record, Records, id_field, text_field
from hf_prompt_models.utils.files import check_inside, read_json


@dataclass(frozen=True)
class Episode(Record):
    """One question after examples. `images` are the examples' and then the question's.

    Attributes:
        texts: what stands after each image: the examples' texts and then the question, which the answer continues.
        answer: the right continuation.
    """

    texts: tuple[str, ...]
    answer: str

    def load_shots(self) -> list[tuple[Image.Image, str]]:
        """Picture and text of each example.

        Raises:
            UnreadableImageError: naming the first picture that cannot be decoded.
        """
        return [(image.load(), text) for image, text in zip(self.images[:-1], self.texts[:-1], strict=True)]

    def load_query(self) -> tuple[Image.Image, str]:
        """Picture and text of the question.

        Raises:
            UnreadableImageError: naming the picture, if it cannot be decoded.
        """
        return self.images[-1].load(), self.texts[-1]


def read_episodes(path: str | os.PathLike, question: str | None = None) -> Records[Episode]:
    """The questions of a published list, such as `open_ended_mi_shots_1_ways_2_all_questions.json`.

    The lists of all four tasks have one form: objects with `image_1`, `caption_1`, `image_2`, … for the examples,
    `question_image`, `question` and `answer`, and, in the published ones, `question_id`; without it an episode's id is
    its place in the list. Pictures lie beside the list.

    Args:
        path: the list.
        question: what to ask instead of the list's questions, as "What is this? This is a".

    Raises:
        ValueError: naming the entry that is not such a question.
    """
    path = Path(path)
    entries = read_json(path, MAX_BYTES, "lists of questions")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} is not a list of few-shot questions: expected a JSON list of objects.")
    return Records(str(path), [_episode(entry, path, place, question) for place, entry in enumerate(entries)])


def _episode(entry: Any, path: Path, place: int, question: str | None) -> Episode:
    where = f"{path}, entry {place}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {str(entry)[:80]}.")
    shots = next(number for number in count() if f"image_{number + 1}" not in entry)
    if not 1 <= shots < MAX_IMAGES or f"caption_{shots + 1}" in entry:
        raise ValueError(
            f"{where}: expected 1 to {MAX_IMAGES - 1} examples, 'image_1' and 'caption_1' and so on without a gap; "
            f"there are {shots} images."
        )
    names = [text_field(entry, f"image_{number}", where) for number in range(1, shots + 1)]
    names.append(text_field(entry, "question_image", where))
    for name in names:
        check_inside(name, where)
    texts = [text_field(entry, f"caption_{number}", where) for number in range(1, shots + 1)]
    texts.append(text_field(entry, "question", where) if question is None else question)
    return Episode(
        id=id_field(entry, "question_id", where) if "question_id" in entry else str(place),
        images=tuple(image_file(path.parent / name) for name in names),
        texts=tuple(texts),
        answer=text_field(entry, "answer", where),
    )
