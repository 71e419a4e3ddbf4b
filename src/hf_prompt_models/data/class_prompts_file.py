"""Sentences about each class in a JSON file, in the form in which CuPL (arXiv 2209.03320) releases them."""

import json
import os
from typing import Any

from hf_prompt_models.data.class_names_file import comparable
from hf_prompt_models.utils.describing import describe_value
from hf_prompt_models.utils.files import read_text


MAX_BYTES = 2**26
KIND = "files of class prompts"


def read_class_prompts(path: str | os.PathLike) -> dict[str, list[str]]:
    """Return the sentences about each class in a JSON file, for `from_backbone` and `set_classes`.

    Args:
        path: a UTF-8 file `{"class name": ["A sentence.", "Another one."], …}`.

    Raises:
        OSError: if there is no such file.
        ValueError: if the file has another form, or a class is there twice, has no sentences or an empty one. The
            message names the class.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from hf_prompt_models import read_class_prompts
        >>> _ = Path("prompts.json").write_text('{"ring": ["A ring is a round band.", "A hoop of metal."]}')
        >>> read_class_prompts("prompts.json")
        {'ring': ['A ring is a round band.', 'A hoop of metal.']}

        ```
    """
    text = read_text(path, MAX_BYTES, KIND)
    try:
        value: Any = json.loads(text, object_pairs_hook=tuple)  # keep repeated names, so that they are reported
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, tuple) or not value:
        raise ValueError(f'{path} must be a JSON object {{"class name": ["A sentence.", …], …}}.')
    class_prompts: dict[str, list[str]] = {}
    seen: set[str] = set()
    for name, sentences in value:
        if not _is_text(comparable(name)):
            raise ValueError(f"{path} has an empty or invalid class name: {name!a}. Write a name with a word in it.")
        if comparable(name) in seen:
            raise ValueError(f"{path} has the class {name!r} twice. Put all of its sentences into one list.")
        seen.add(comparable(name))
        if not isinstance(sentences, list) or not sentences:
            raise ValueError(f"{path}, {name!r}: expected a list of sentences, got {describe_value(sentences)}.")
        for number, sentence in enumerate(sentences, start=1):
            if not isinstance(sentence, str) or not _is_text(sentence):
                raise ValueError(f"{path}, {name!r}: sentence {number} is empty or not a text. Remove it.")
        class_prompts[name] = sentences
    return class_prompts


def _is_text(text: str) -> bool:
    """Return whether a string has words and can be encoded: JSON may contain half of a surrogate pair."""
    try:
        return bool(text.encode().strip())
    except UnicodeEncodeError:
        return False
