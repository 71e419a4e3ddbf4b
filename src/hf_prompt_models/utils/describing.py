"""Descriptions of values for error messages."""

from typing import Any


LONGEST = 80
"""The maximum number of characters of a value that are shown."""


def describe_value(value: Any) -> str:
    """Return a value as shown in error messages: text and numbers as they are, anything else by its type."""
    several = value if isinstance(value, list | tuple) else [value]
    if all(each is None or isinstance(each, str | int | float) for each in several):
        shown = repr(value)
        return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    if isinstance(value, list | tuple) and value:
        kinds = ", ".join(sorted({type(each).__name__ for each in value}))
        return f"a {type(value).__name__} of {kinds}"
    return f"a value of type {type(value).__name__}"
