"""Open-ended few-shot questions: examples of an image and a text, followed by an image and a question.

These are the evaluation tasks of Frozen (arXiv 2106.13884): open-ended and real-name miniImageNet, Fast-VQA and
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
    """A question with preceding examples. `images` holds the images of the examples, then that of the question.

    Attributes:
        texts: text after each image: those of the examples, then the question, which the answer continues.
        answer: the correct continuation.
    """

    texts: tuple[str, ...]
    answer: str

    def load_shots(self) -> list[tuple[Image.Image, str]]:
        """Return the decoded image and the text of each example.

        Raises:
            UnreadableImageError: if an image cannot be decoded. The message names it.
        """
        return [(image.load(), text) for image, text in zip(self.images[:-1], self.texts[:-1], strict=True)]

    def load_query(self) -> tuple[Image.Image, str]:
        """Return the decoded image and the text of the question.

        Raises:
            UnreadableImageError: if the image cannot be decoded. The message names it.
        """
        return self.images[-1].load(), self.texts[-1]


def read_episodes(path: str | os.PathLike, question: str | None = None) -> Records[Episode]:
    """Read the questions of a published list, such as `open_ended_mi_shots_1_ways_2_all_questions.json`.

    The lists of all four tasks have the same format: objects with `image_1`, `caption_1`, `image_2`, … for the
    examples, `question_image`, `question`, `answer` and, in the published lists, `question_id`. Without it, the ID of
    an episode is its index in the list. Images are in the folder of the list.

    Args:
        path: the list.
        question: question that replaces those of the list, such as "What is this? This is a".

    Raises:
        ValueError: if an entry does not have this format. The message names the entry.
    """
    path = Path(path)
    entries = read_json(path, MAX_BYTES, "lists of questions")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} is not a list of few-shot questions. Expected a JSON list of objects.")
    return Records(str(path), [_episode(entry, path, place, question) for place, entry in enumerate(entries)])


def _episode(entry: Any, path: Path, place: int, question: str | None) -> Episode:
    where = f"{path}, entry {place}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {str(entry)[:80]}.")
    shots = next(number for number in count() if f"image_{number + 1}" not in entry)
    if not 1 <= shots < MAX_IMAGES or f"caption_{shots + 1}" in entry:
        raise ValueError(
            f"{where}: expected 1 to {MAX_IMAGES - 1} examples in fields 'image_1' and 'caption_1' and so on "
            f"without gaps, got {shots} images."
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
