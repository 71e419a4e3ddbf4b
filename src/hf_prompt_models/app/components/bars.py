"""Probabilities of classes as bars, in HTML."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image


SHOWN_CLASSES = 5
PLACES = ("first", "second")
"""The bars' CSS classes, by the place of their series."""


@dataclass(frozen=True)
class Series:
    """
    Args:
        name: what gives these probabilities.
        probabilities: of each class, from 0 to 1.
    """

    name: str
    probabilities: Sequence[float]


def bars(names: Sequence[str], series: Sequence[Series], count: int = SHOWN_CLASSES) -> str:
    """The best classes of the first series, and the best one of each other, with a bar for each series.

    Args:
        names: of the classes.
        series: one or two.
        count: how many of the first series' best.
    """
    first, *others = series
    order = sorted(range(len(names)), key=lambda index: -first.probabilities[index])
    shown = order[:count]
    for other in others:
        best = max(range(len(names)), key=lambda index: other.probabilities[index])
        if best not in shown:
            shown.append(best)
    return f'<ul class="bars">{"".join(_row(names[index], index, series) for index in shown)}</ul>'


def _row(name: str, index: int, series: Sequence[Series]) -> str:
    lines = []
    for place, each in zip(PLACES, series, strict=False):
        value = each.probabilities[index]
        lines.append(
            f'<div class="bar {place}"><span class="track" aria-hidden="true">'
            f'<span class="fill" style="width: {value:.1%}"></span></span>'
            f'<span class="value"><span class="read-aloud">{html.escape(each.name)}: </span>{value:.1%}</span></div>'
        )
    return f'<li><span class="name">{html.escape(name)}</span>{"".join(lines)}</li>'


def legend(series_names: Sequence[str]) -> str:
    """Which bar is whose."""
    items = (
        f'<li><span class="swatch {place}" aria-hidden="true"></span>{html.escape(name)}</li>'
        for place, name in zip(PLACES, series_names, strict=False)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def thumbnail(image: Image.Image, pixels: int) -> str:
    """A picture, no larger than `pixels` in either direction, as the address of an `<img>`: no file is served."""
    small = image.copy()
    small.thumbnail((pixels, pixels))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
