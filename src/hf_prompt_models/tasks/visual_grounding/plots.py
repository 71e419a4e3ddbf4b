"""Figures of grounded phrases."""

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Rectangle

from hf_prompt_models.data.grounding.dataset import POSITIVE_IOU
from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.metrics.grounding import grounding_accuracy
from hf_prompt_models.metrics.guessing import chance_of_regions
from hf_prompt_models.utils.boxes import Box, box_iou
from hf_prompt_models.utils.figures import BLUE, GREEN, GREY, RED, new_figure, save_figure, wrapped


COLUMNS = 4
CANDIDATE: dict[str, Any] = {"edgecolor": GREY, "linewidth": 1.0}
TRUE: dict[str, Any] = {"edgecolor": GREEN, "linewidth": 4.0}
CHOSEN: dict[str, Any] = {"linewidth": 2.0, "linestyle": "--"}


def plot_groundings(
    expressions: ReferringExpressions, chosen: Sequence[Box], path: str | os.PathLike, count: int = 12
) -> None:
    """Write images with their phrases and boxes as PNG.

    Candidate regions are grey, the true box is green, and the chosen box is dashed, in blue if it is correct and else
    in red.

    Args:
        expressions: Phrases with candidate regions.
        chosen: Chosen box of each phrase.
        path: Path of the PNG.
        count: Number of phrases to show, evenly spread over all.
    """
    total = len(expressions)
    count = min(count, total)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    accuracy = grounding_accuracy(chosen, expressions.boxes)
    chance = chance_of_regions([regions.boxes for regions in expressions.proposals], expressions.boxes)
    figure = new_figure(max(3.2 * columns, 6.4), 3.5 * rows + 1.2)
    figure.suptitle(
        f"{count} of {total} test expressions; {accuracy:.1%} of all correct (chance: {chance:.1%})", fontsize=11
    )
    outcomes = set()
    for place in range(count):
        index = place * total // count
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(expressions.load(index))
        axes.set_axis_off()
        axes.set_title(wrapped(expressions.texts[index], 36, 6), fontsize=9)
        truth = expressions.boxes[index]
        right = box_iou([chosen[index]], [truth]).item() > POSITIVE_IOU
        outcomes.add(right)
        for box in expressions.proposals[index].boxes:
            axes.add_patch(_outline(box, CANDIDATE))
        axes.add_patch(_outline(truth, TRUE))
        axes.add_patch(_outline(chosen[index], CHOSEN | {"edgecolor": BLUE if right else RED}))
    styles = {
        "candidate region": CANDIDATE,
        "true region": TRUE,
    }
    if True in outcomes:
        styles[f"chosen, correct (IoU above {POSITIVE_IOU:g})"] = CHOSEN | {"edgecolor": BLUE}
    if False in outcomes:
        styles["chosen, wrong"] = CHOSEN | {"edgecolor": RED}
    handles = [Rectangle((0, 0), 1, 1, fill=False, label=label, **style) for label, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if columns < 3 else 4, fontsize=9)
    save_figure(figure, path, dpi=100)


def _outline(box: Box, style: dict[str, Any]) -> Rectangle:
    """Return the outline of a box around complete pixels, whose centres have integer coordinates."""
    x1, y1, x2, y2 = box
    return Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1 + 1, y2 - y1 + 1, fill=False, **style)
