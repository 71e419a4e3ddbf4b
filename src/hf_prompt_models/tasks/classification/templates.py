"""Hand-written templates on command lines."""

import os
from collections.abc import Sequence

from hf_prompt_models.prompts.templates import (
    ACTION_TEMPLATES,
    DATASET_TEMPLATES,
    DEFAULT_TEMPLATE,
    IMAGENET_TEMPLATES,
    IMAGENET_TEMPLATES_SELECT,
    PLACEHOLDER,
)
from hf_prompt_models.utils.files import read_text


TEMPLATE_LISTS = {
    "default": [DEFAULT_TEMPLATE],
    "imagenet_80": list(IMAGENET_TEMPLATES),
    "imagenet_7": list(IMAGENET_TEMPLATES_SELECT),
    "actions": [template.text for template in ACTION_TEMPLATES],
} | {f"{name}_prompt": [template] for name, template in DATASET_TEMPLATES.items()}
"""Published templates, by the names that `read_templates` accepts."""

MAX_BYTES = 2**20


def read_templates(words: Sequence[str]) -> list[str]:
    """Return the templates that a command line names.

    Args:
        words: Sentences with one `{}`, names of published lists (`TEMPLATE_LISTS`), or text files with one template
            per line.

    Raises:
        ValueError: If a word is none of these.
    """
    templates: list[str] = []
    for word in words:
        if PLACEHOLDER in word:
            templates.append(word)
        elif word in TEMPLATE_LISTS:
            templates += TEMPLATE_LISTS[word]
        elif os.path.isfile(word):
            lines = read_text(word, MAX_BYTES, "lists of templates").splitlines()
            templates += [line.strip() for line in lines if line.strip()]
        else:
            raise ValueError(
                f"The template {word!r} must contain {PLACEHOLDER!r} exactly once, where the class name goes, "
                f"as in {DEFAULT_TEMPLATE!r}. You can also pass a text file of templates, or one of the "
                f"published lists {', '.join(TEMPLATE_LISTS)}."
            )
    return templates
