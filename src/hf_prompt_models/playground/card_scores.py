"""Evaluation of generated descriptions of product cards: accuracy of each attribute, with and without the images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from PIL import Image

from hf_prompt_models.metrics.cider import cider_d
from hf_prompt_models.metrics.words import words
from hf_prompt_models.utils.figures import BLUE, RED, new_figure, save_figure, wrapped

from .product_cards import CARD_COLOURS, MATERIALS, SIZES
from .shapes import SHAPES


ATTRIBUTES = {
    "colour": frozenset(CARD_COLOURS),
    "material": frozenset(MATERIALS),
    "object": frozenset(SHAPES),
    "size": frozenset(SIZES),
}
"""Attributes of a description and the words for each. Colour and material are only in the image."""

CHANCE = {"colour": 1 / len(CARD_COLOURS), "material": 1 / len(MATERIALS)}
"""Accuracy of random guessing for the attributes that are not in the title."""


def score_cards(written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Compute the accuracy of each attribute, and CIDEr-D.

    Args:
        written: generated descriptions.
        references: reference descriptions of the cards.

    Returns:
        For each of `ATTRIBUTES`, the share from 0 to 1 of the texts that have the right word and no other word for
        the attribute; and `cider_d`, from 0 to 10.
    """
    said = [(set(words(text)), set(words(reference))) for text, reference in zip(written, references, strict=True)]
    shares = {
        name: sum(text & choices == reference & choices for text, reference in said) / len(said)
        for name, choices in ATTRIBUTES.items()
    }
    return shares | {"cider_d": cider_d(written, references)}


def compare_runs(seeing: Sequence[str | Path], blind: Sequence[str | Path]) -> dict[str, dict[str, float]]:
    """Compare a model that is given the images with a blind model, averaged over seeds.

    Args:
        seeing: the `predictions.jsonl` of each seed, as written by `hf-prompt train mantis`.
        blind: the `predictions.jsonl` of each seed of the blind model.

    Returns:
        The mean scores of `score_cards` for "seeing" and "blind".
    """
    scores = {}
    for name, paths in (("seeing", seeing), ("blind", blind)):
        runs = []
        for rows in map(_read, paths):
            runs.append(score_cards([row["generated"] for row in rows], [row["references"][0] for row in rows]))
        scores[name] = {score: sum(run[score] for run in runs) / len(runs) for score in runs[0]}
    return scores


def plot_blind_and_seeing(
    seeing: str | Path, blind: str | Path, images: str | Path, output: str | Path, count: int = 8
) -> None:
    """Plot the first cards with the title above each image and the outputs of both models below it.

    Args:
        seeing: the `predictions.jsonl` of one seed of the model that is given the images.
        blind: the `predictions.jsonl` of one seed of the blind model.
        images: folder of the images of the cards.
        output: path of the PNG file.
        count: number of cards.
    """
    ones, others = _read(seeing), _read(blind)
    pairs = list(zip(ones[:count], others[:count], strict=True))
    columns = min(4, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(max(2.9 * columns, 5.8), 3.9 * rows + 0.9)
    rights = [sum(row["generated"] == row["references"][0] for row in of_all) for of_all in (ones, others)]
    title = (
        f"{len(pairs)} of {len(ones)} cards; of all, {rights[0]} correct with images and {rights[1]} correct "
        "with black images"
    )
    figure.suptitle(wrapped(title, 30 * max(columns, 2)), fontsize=11)
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[2.4, 1.2] * rows)
    for axes in panels.flat:
        axes.set_axis_off()
    for place, (one, other) in enumerate(pairs):
        picture, below = panels[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
        with Image.open(Path(images) / Path(one["images"][0]).name) as image:
            picture.imshow(image)
        picture.set_title(f"“{one['title']}”", fontsize=10)
        for top, row, label in ((1.0, one, "seeing"), (0.5, other, "blind")):
            is_right = row["generated"] == row["references"][0]
            text = wrapped(f"{label}, {'right' if is_right else 'wrong'}: {row['generated']}", 38, 3)
            below.text(0.5, top, text, ha="center", va="top", fontsize=8, color=BLUE if is_right else RED)
    handles = [
        Line2D([], [], color=colour, linewidth=5, label=f"{label} description")
        for colour, label in ((BLUE, "right"), (RED, "wrong"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    save_figure(figure, output, dpi=110)


def _read(path: str | Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
