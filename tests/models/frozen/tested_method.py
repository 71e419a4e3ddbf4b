"""Frozen for the common tests: with a trained and with a frozen vision backbone."""

from hf_prompt_models import FrozenForConditionalGeneration
from tests.tested_prefix_lm import method


LEARNED = {"image_projection.linear.weight", "image_projection.linear.bias"}

METHOD = method(FrozenForConditionalGeneration, LEARNED)(
    variants={"frozen vision": method(FrozenForConditionalGeneration, LEARNED, freeze_vision=True)()}
)
