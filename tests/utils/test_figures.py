"""Common properties of all figures."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from hf_prompt_models.training.plots import plot_confusion_matrix
from hf_prompt_models.utils import figures
from hf_prompt_models.utils.figures import drawable, new_figure, save_figure, shortened, wrapped


def test_letters_without_a_font_are_written_as_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_installed", lambda: ())
    figures._fallbacks.cache_clear()
    assert drawable("naïve Ωмиш $x$") == "naïve Ωмиш $x$"
    assert drawable("猫 cat\x19\udc80") == "\\u732b cat\\x19\\udc80"
    figures._fallbacks.cache_clear()


def test_a_font_that_has_the_letters_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_installed", lambda: (("Elsewhere", "elsewhere.ttf"),))
    letters = figures._letters_of
    monkeypatch.setattr(figures, "_letters_of", lambda path: frozenset("猫") if "else" in path else letters(path))
    figures._fallbacks.cache_clear()
    assert drawable("猫犬") == "猫\\u72ac"
    assert figures._families("a 猫") == ["Elsewhere"]
    figures._fallbacks.cache_clear()


def test_no_text_of_a_figure_is_a_formula_or_draws_a_warning(tmp_path: Path) -> None:
    figure = new_figure(3, 2)
    figure.add_subplot().set_title("$x_ 猫 \\frac")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "a.png")
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if isinstance(text, Text))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (360, 240)


def test_texts_are_cut_with_a_mark() -> None:
    assert wrapped("one two three four", 9, 2) == "one two\nthree …"
    assert shortened("Boeing 737-800 of the second series", 16) == "Boeing 7… series"
    assert shortened("short", 16) == "short"


@pytest.mark.parametrize("size", [1, 3, 30, 160])
def test_names_of_a_confusion_matrix_stay_within_it(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing touches the border of the figure, so nothing is cut off."""
    names = [f"a class name that is quite long, as in fine-grained data sets, number {k}" for k in range(size)]
    plot_confusion_matrix(np.eye(size, dtype=int) * 3, names, tmp_path / "c.png", "video", 3)
    with Image.open(tmp_path / "c.png") as image:
        pixels = np.asarray(image.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert border.min() == 255
