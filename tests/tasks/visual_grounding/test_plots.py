"""The plot of model answers."""

from pathlib import Path

import numpy as np
from PIL import Image

from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.data.grounding.region_proposals import RegionProposals
from hf_prompt_models.tasks.visual_grounding.plots import plot_groundings


GREEN, BLUE, RED = (44, 160, 44), (31, 119, 180), (214, 39, 40)  # matplotlib's tab:green, tab:blue, tab:red


def count_pixels(path: Path, color: tuple[int, int, int]) -> int:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int((abs(pixels - color).max(axis=-1) < 12).sum())


def test_right_and_wrong_answers_have_their_colours(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (250, 250, 250)).save(tmp_path / "a.png")
    boxes = [(5.0, 5.0, 20.0, 30.0), (30.0, 8.0, 50.0, 35.0)]
    expressions = ReferringExpressions(
        source="here",
        names=["0"],
        texts=["the left $one$"],
        boxes=[boxes[0]],
        pictures=["a.png"],
        read=lambda index: tmp_path / "a.png",
        proposals=[RegionProposals(boxes)],
    )
    plot_groundings(expressions, [boxes[0]], tmp_path / "right.png")
    plot_groundings(expressions, [boxes[1]], tmp_path / "wrong.png")
    assert count_pixels(tmp_path / "right.png", GREEN) > 50
    assert count_pixels(tmp_path / "right.png", BLUE) > 50
    assert count_pixels(tmp_path / "right.png", RED) == 0
    assert count_pixels(tmp_path / "wrong.png", RED) > 50
    assert count_pixels(tmp_path / "wrong.png", BLUE) == 0
