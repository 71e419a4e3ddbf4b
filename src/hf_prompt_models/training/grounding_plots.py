"""What a model made of the first phrases, as a picture."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hf_prompt_models.boxes import Box, box_iou
from hf_prompt_models.data.files import replacing
from hf_prompt_models.data.grounding_dataset import POSITIVE_IOU
from hf_prompt_models.data.referring_expressions import ReferringExpressions


COLUMNS = 4


def plot_groundings(
    expressions: ReferringExpressions, chosen: Sequence[Box], path: str | os.PathLike, count: int = 12
) -> None:
    """Write pictures with their phrases as PNG: candidate regions grey, the true box green, the chosen one red or, if
    it is right, blue.

    Args:
        expressions: with candidate regions.
        chosen: the box that was chosen for each.
        path: of the PNG.
        count: show so many, from the first.
    """
    count = min(count, len(expressions))
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index in range(count):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(expressions.load(index))
        axes.set_axis_off()
        text = "\n".join(textwrap.wrap(expressions.texts[index], 34)[:4])
        axes.set_title(text, fontsize=9, parse_math=False)
        truth = expressions.boxes[index]
        right = box_iou([chosen[index]], [truth]).item() > POSITIVE_IOU
        for box in expressions.proposals[index].boxes:
            axes.add_patch(_outline(box, "0.6", linewidth=0.8))
        axes.add_patch(_outline(truth, "tab:green", linewidth=3.5))
        axes.add_patch(_outline(chosen[index], "tab:blue" if right else "tab:red", linewidth=1.8, linestyle="--"))
    with replacing(path) as beside:
        figure.savefig(beside, format=Path(path).suffix[1:] or "png", dpi=100)


def _outline(box: Box, color: str, **style: Any) -> Rectangle:
    """Around whole pixels, whose middles have whole coordinates."""
    x1, y1, x2, y2 = box
    return Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1 + 1, y2 - y1 + 1, fill=False, edgecolor=color, **style)
