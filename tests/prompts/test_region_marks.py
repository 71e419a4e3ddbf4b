"""Region marks other than colours."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from hf_prompt_models.prompts.region_marks import BLUR_SIGMA, region_markers
from tests.tested_method import random_image


BOX = (10, 5, 40, 25)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def box_mask() -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:25, 10:40] = True
    return mask


def test_a_circle_fills_the_box_and_leaves_the_rest() -> None:
    image = random_image()
    (drawn,) = (draw() for draw in region_markers(image, [BOX], "circle"))
    changed = (pixels(drawn) != pixels(image)).any(axis=2)
    rows, columns = changed.nonzero()
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == BOX
    assert (pixels(drawn)[changed] == (255, 0, 0)).all()
    assert not changed[15, 25]  # within the ellipse
    assert not changed[6, 11]  # in the box's corner
    assert changed[5, 25]
    assert changed[15, 10]


def test_a_crop_is_the_box() -> None:
    image = random_image()
    (cropped,) = (draw() for draw in region_markers(image, [BOX], "crop"))
    assert np.array_equal(pixels(cropped), pixels(image)[5:25, 10:40])


def test_blur_and_grey_leave_the_region_and_change_what_is_outside() -> None:
    image, mask = random_image(), np.random.default_rng(0).integers(0, 2, (40, 60)).astype(bool)
    outside = {
        "blur": pixels(image.filter(ImageFilter.GaussianBlur(BLUR_SIGMA))),
        "grey": pixels(image.convert("L").convert("RGB")),
    }
    for mark, other in outside.items():
        for region, inside in ((BOX, box_mask()), (mask, mask)):
            (marked,) = (draw() for draw in region_markers(image, [region], mark))  # type: ignore[arg-type]
            assert np.array_equal(pixels(marked), np.where(inside[..., None], pixels(image), other))


@pytest.mark.parametrize("mark", ["circle", "crop", "blur", "grey"])
def test_a_full_mask_marks_what_its_box_marks(mark: str) -> None:
    image = random_image()
    by_box, by_mask = (draw() for draw in region_markers(image, [BOX, box_mask()], mark))  # type: ignore[arg-type]
    assert np.array_equal(by_box, by_mask)
    assert np.array_equal(image, random_image())


def test_another_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="no mark 'square'"):
        region_markers(random_image(), [BOX], "square")  # type: ignore[arg-type]
