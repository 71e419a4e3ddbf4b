"""Entity prompts: the sentences that name an entity, as data."""

import os
import re
from collections.abc import Sequence
from itertools import product

from hf_prompt_models.utils.files import read_text


MAX_LIST_BYTES = 16 * 2**20

ARTICLES = ("a", "the", "one")
VIDEO_TEMPLATES = tuple(
    f"A {kind} of {article} {{}}."
    for kind, article in product(("footage", "video", "portrait", "video footage"), ARTICLES)
)
IMAGE_TEMPLATES = tuple(
    f"A {kind} of {article} {{}}."
    for kind, article in product(("photo", "picture", "good photo", "good picture"), ARTICLES)
)
"""12 sentences for videos and 12 for still pictures (paper, table 8, and the released code)."""


def check_entities(entities: Sequence[str]) -> list[str]:
    """Entities without the spaces around them.

    Raises:
        ValueError: if there are none, one is empty, or one stands there twice, whatever its letters' case.
    """
    names = [name.strip() for name in entities]
    if not names:
        raise ValueError("The list of entities is empty.")
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise ValueError(f"Entity {place} has no name.")
        before = first.setdefault(name.casefold(), place)
        if before != place:
            raise ValueError(
                f"Entity {place}, {name!r}, is entity {before} again: the prompter could not tell them apart. Keep "
                "one of them."
            )
    return names


def entity_prompts(entities: Sequence[str], templates: Sequence[str]) -> list[str]:
    """All entities in the first template, then in the second, …."""
    return [template.replace("{}", name) for template in templates for name in entities]


def read_entities(file: str | os.PathLike) -> list[str]:
    """Entities from a file with one a line, the released `unigrams.txt` or one like it; a number behind is its count.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the file, if it is empty or an entity stands there twice.
    """
    lines = read_text(file, MAX_LIST_BYTES, "lists of entities").splitlines()
    try:
        return check_entities([re.sub(r"\s+\d+$", "", line.strip()) for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
