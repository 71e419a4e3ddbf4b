"""The recipe of CoOp."""

import pytest

from hf_prompt_models.models.coop.recipe_coop import Arguments


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_crop_area_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"min_crop_area to be above 0 and at most 1, got {share}"):
        Arguments(min_crop_area=share)
