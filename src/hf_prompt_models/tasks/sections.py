"""Sections of a report: a table with a heading, a note and figures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """A picture: accuracy by shots, one line a variant."""

    title: str
    zero_shot: dict[str, float]
    lines: dict[str, dict[int, tuple[float, float]]]
    kind: str
    chance: float | None = None
    measure: str = "accuracy"


@dataclass(frozen=True)
class Section:
    """One table of the report, with its pictures."""

    heading: str
    table: list[list[str]]
    note: str
    curves: tuple[Curves, ...] = ()

    def markdown(self) -> str:
        return f"## {escape(self.heading)}\n\n{markdown_table(self.table)}\n\n{self.note}"


def escape(text: str) -> str:
    """Text that stays what it is in a cell of a Markdown table."""
    return re.sub(r"([\\|`*\[\]<>])", r"\\\1", " ".join(text.split()))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header; the first column is text, the others are numbers."""
    header, *body = [[escape(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body])
