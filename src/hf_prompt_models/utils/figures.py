"""Shared parts of all figures: colours for colour-blind readers, fonts for any script, saving."""

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
"""Colours of lines. They differ in lightness or between blue and yellow, also for readers who see no red or green."""
GREEN, RED = "#2CA02C", "#D62728"
"""Colours of marks, which also differ in line style or text."""
GREY = "#767676"
FONT = "DejaVu Sans"
"""The default font of matplotlib. It has Latin, Greek, Cyrillic, Arabic and Hebrew letters."""
UNFIT_FONTS = re.compile(
    r"Last Resort|Emoji|STIXSize|STIXNonUnicode|Math|Symbol|Wingdings|^cm(r|b|mi|sy|ex|ss|tt)\d+$"
)
"""Fonts to skip: their glyphs are boxes, bitmaps that matplotlib cannot draw, or do not match their characters."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure with a size in inches, which does not open a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike, dpi: int = 120) -> None:
    """Save a figure as PNG, unless the suffix of the path names another format.

    Texts use fonts that have their letters.

    Args:
        figure: the figure. Its texts are not parsed as formulas.
        path: file to write.
        dpi: pixels per inch.
    """
    with replacing(path) as beside:
        _draw(figure, beside, Path(path).suffix[1:] or "png", dpi)


def figure_image(figure: Figure, dpi: float = 120) -> Image.Image:
    """Return a figure as an image. Arguments are as for `save_figure`."""
    pixels = io.BytesIO()
    _draw(figure, pixels, "png", dpi)
    return Image.open(pixels).convert("RGB")


def _draw(figure: Figure, target: Path | io.BytesIO, form: str, dpi: float) -> None:
    _set_fonts(figure)
    if form == "png" and isinstance(figure.canvas, FigureCanvasAgg):  # `savefig` would draw everything twice
        figure.set_dpi(dpi)
        figure.canvas.print_png(target)
    else:
        figure.savefig(target, format=form, dpi=dpi)


def _set_fonts(figure: Figure) -> None:
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    families = _families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily([FONT, *families])
        text.set_text(drawable(text.get_text()))


def drawable(text: str) -> str:
    r"""Return a text in which letters that no installed font has are replaced by their code, such as `\u732b`."""
    missing = _missing(text)
    unknown = missing.difference(*(_letters_of(path) for _, path in _fallbacks(missing)))
    return "".join(_code(letter) if letter in unknown else letter for letter in text)


def wrapped(text: str, width: int, lines: int | None = None) -> str:
    """Return a text wrapped to lines of `width` letters, ending in `…` if it needs more than the allowed lines."""
    placeholder = " …"
    return "\n".join(textwrap.wrap(drawable(text), width, max_lines=lines, placeholder=placeholder))


def shortened(text: str, width: int) -> str:
    """Return a text of at most `width` letters, cut in the middle, where names differ least."""
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
    """Return families and files of as few installed fonts as possible that have the letters missing in `FONT`."""
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
    """Return the number of letters of the longest line of some texts; 0 if there are none."""
    return max((len(line) for text in texts for line in text.splitlines()), default=0)
