"""Sections of a report: a table with a heading, a note and figures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curves:
    """Figure of the accuracy by shots, with one line per variant.

    Attributes:
        title: Title of the figure.
        zero_shot: Zero-shot accuracies, by name.
        lines: For each variant, mean and deviation by number of shots.
        kind: Kind of example, such as "image".
        chance: Accuracy of guessing, if known.
        measure: Name of the metric.
    """

    title: str
    zero_shot: dict[str, float]
    lines: dict[str, dict[int, tuple[float, float]]]
    kind: str
    chance: float | None = None
    measure: str = "accuracy"


@dataclass(frozen=True)
class Section:
    """Table of the report, with its figures.

    Attributes:
        heading: Heading of the section.
        table: Rows of cells; the first row is the header.
        note: Markdown text below the table.
        curves: The figures.
    """

    heading: str
    table: list[list[str]]
    note: str
    curves: tuple[Curves, ...] = ()

    def markdown(self) -> str:
        """Return the section as Markdown, without its figures."""
        return f"## {escape(self.heading)}\n\n{markdown_table(self.table)}\n\n{self.note}"


def escape(text: str) -> str:
    """Return text escaped for a cell of a Markdown table."""
    return re.sub(r"([\\|`*\[\]<>])", r"\\\1", " ".join(text.split()))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. The first row is the header; the first column is text, the others are numbers."""
    header, *body = [[escape(cell) for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body])
