"""Bars of class probabilities."""

import re

from PIL import Image

from hf_prompt_models.app.components.bars import Series, bars, thumbnail


def shown(markup: str) -> list[str]:
    return re.findall(r'class="name">([^<]*)<', markup)


def test_the_best_five_classes_are_shown_the_best_first() -> None:
    names = [f"class {index}" for index in range(8)]
    probabilities = [0.01, 0.3, 0.05, 0.2, 0.04, 0.25, 0.1, 0.05]
    assert shown(bars(names, [Series("model", probabilities)])) == [
        "class 1",
        "class 5",
        "class 3",
        "class 6",
        "class 2",
    ]


def test_the_best_class_of_the_other_series_is_shown_too() -> None:
    names = [f"class {index}" for index in range(7)]
    learned = Series("learned", [0.4, 0.2, 0.1, 0.1, 0.1, 0.06, 0.04])
    by_hand = Series("by hand", [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4])
    markup = bars(names, [learned, by_hand])
    assert shown(markup)[-1] == "class 6"
    assert re.findall(r"width: ([\d.]+)%", markup)[-2:] == ["4.0", "40.0"]


def test_names_are_no_markup() -> None:
    assert "<script>" not in bars(["<script>"], [Series("<i>", [1.0])])
    assert "<i>" not in bars(["<script>"], [Series("<i>", [1.0])])


def test_thumbnails_are_small_and_keep_their_shape() -> None:
    address = thumbnail(Image.new("RGB", (2000, 1000), (200, 30, 30)), 100)
    assert address.startswith("data:image/jpeg;base64,")
    assert len(address) < 3000
