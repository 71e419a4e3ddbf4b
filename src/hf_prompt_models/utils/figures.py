"""What all figures have in common: colours that colour-blind people tell apart, fonts for any script, writing."""

import io
import os
import re
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import Image

from hf_prompt_models.utils.files import replacing


BLUE, ORANGE, TEAL, PURPLE, SKY, BROWN = COLOURS = ("#1F77B4", "#FF7F0E", "#009E73", "#CC79A7", "#56B4E9", "#8C564B")
"""Of lines: they differ in lightness or between blue and yellow, and so for people who see no red or no green, too."""
GREEN, RED = "#2CA02C", "#D62728"
"""Of marks, which differ in line style or words as well."""
GREY = "#767676"
FONT = "DejaVu Sans"
"""Matplotlib's own, which knows Latin, Greek, Cyrillic, Arabic and Hebrew letters."""
UNFIT_FONTS = re.compile(
    r"Last Resort|Emoji|STIXSize|STIXNonUnicode|Math|Symbol|Wingdings|^cm(r|b|mi|sy|ex|ss|tt)\d+$"
)
"""Names of fonts whose glyphs are boxes, bitmaps that matplotlib cannot draw, or not the letters of their codes."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, drawn without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 120) -> None:
    """Write a figure, PNG unless the path's suffix names another format; every text in fonts that have its letters.

    Args:
        figure: what to write. No text in it is read as a formula.
        path: of the file.
        dpi: pixels an inch.
    """
    _set_fonts(figure)
    with replacing(path) as beside:
        figure.savefig(beside, format=Path(path).suffix[1:] or "png", dpi=dpi)


def figure_image(figure: Figure, dpi: float = 120) -> Image.Image:
    """Return a figure as an image; arguments are as for `save_figure`."""
    _set_fonts(figure)
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", dpi=dpi)
    return Image.open(pixels).convert("RGB")


def _set_fonts(figure: Figure) -> None:
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    families = _families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily([FONT, *families])
        text.set_text(drawable(text.get_text()))


def drawable(text: str) -> str:
    """Return a text with letters that no installed font has written as their code, as `\\u732b`."""
    missing = _missing(text)
    unknown = missing.difference(*(_letters_of(path) for _, path in _fallbacks(missing)))
    return "".join(_code(letter) if letter in unknown else letter for letter in text)


def wrapped(text: str, width: int, lines: int | None = None) -> str:
    """Return a text in lines of so many letters, `…` at its end if more lines than allowed would be needed."""
    placeholder = " …"
    return "\n".join(textwrap.wrap(drawable(text), width, max_lines=lines, placeholder=placeholder))


def shortened(text: str, width: int) -> str:
    """Return a text of at most so many letters, cut in the middle, where names differ least."""
    text = " ".join(drawable(text).split())
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[-end:]}"


def _missing(text: str) -> frozenset[str]:
    return frozenset(letter for letter in text if letter not in " \n" and letter not in _letters_of(_own_font()))


def _families(text: str) -> list[str]:
    return [family for family, _ in _fallbacks(_missing(text))]


@cache
def _fallbacks(missing: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Families and files of installed fonts that have the letters which the own font lacks, as few as needed."""
    found: list[tuple[str, str]] = []
    missing = frozenset(filter(str.isprintable, missing))
    for entry in _installed() if missing else ():
        has = missing & _letters_of(entry[1])
        if has:
            found.append(entry)
            missing -= has
    return tuple(found)


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    fonts = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist if entry.style == "normal"}
    return tuple(item for item in sorted(fonts.items()) if not UNFIT_FONTS.search(item[0]))


@cache
def _own_font() -> str:
    return str(font_manager.findfont(FONT))


@cache
def _letters_of(path: str) -> frozenset[str]:
    return frozenset(filter(str.isprintable, map(chr, FT2Font(path).get_charmap())))


def _code(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 128 else letter.encode("ascii", "backslashreplace").decode()


def longest(texts: Iterable[str]) -> int:
    """Return the number of letters of the longest line of some texts; 0 of none."""
    return max((len(line) for text in texts for line in text.splitlines()), default=0)
