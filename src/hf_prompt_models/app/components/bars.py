"""Class probabilities as HTML bars."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image


SHOWN_CLASSES = 5
PLACES = ("first", "second")
"""CSS classes of the bars, by the position of their series."""


@dataclass(frozen=True)
class Series:
    """A named series of class probabilities.

    Args:
        name: what predicts these probabilities, such as "Zero-shot".
        probabilities: one probability per class, between 0 and 1.
    """

    name: str
    probabilities: Sequence[float]


def bars(names: Sequence[str], series: Sequence[Series], count: int = SHOWN_CLASSES) -> str:
    """Render the top classes of the first series, and the top class of the other one, with a bar per series.

    Args:
        names: class names.
        series: one or two series.
        count: number of top classes of the first series.

    Returns:
        An HTML list.
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
    """Render the legend of the bars as HTML."""
    items = (
        f'<li><span class="swatch {place}" aria-hidden="true"></span>{html.escape(name)}</li>'
        for place, name in zip(PLACES, series_names, strict=False)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def thumbnail(image: Image.Image, pixels: int) -> str:
    """Return a thumbnail as a data URL, so that the server does not have to serve a file.

    Args:
        image: the image; smaller images are not enlarged.
        pixels: maximum width and height in pixels.
    """
    small = image.copy()
    small.thumbnail((pixels, pixels))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
