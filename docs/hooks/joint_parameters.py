"""Docstrings here may have one entry for parameters that belong together; it is made one for each."""

import re
from typing import Any

from griffe import Extension, Object


_ENTRY = re.compile(
    r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+):(?P<text>[^\n]*(?:\n(?:(?P=indent) +[^\n]*|\s*(?=\n)))*)", re.MULTILINE
)


class JointParameters(Extension):
    """For griffe, which reads the docstrings."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _ENTRY.sub(_one_by_one, obj.docstring.value)


def _one_by_one(entry: re.Match[str]) -> str:
    return "\n".join(f"{entry['indent']}{name}:{entry['text']}" for name in entry["names"].split(", "))
