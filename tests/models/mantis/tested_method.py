"""MAnTiS with a frozen language model for the common tests."""

from hf_prompt_models import MantisForConditionalGeneration
from tests.tested_prefix_lm import method


LEARNED = {"image_projection.linear.weight", "image_projection.linear.bias", "segments.weight"}

METHOD = method(MantisForConditionalGeneration, LEARNED, num_image_tokens=2, freeze_text=True)()
