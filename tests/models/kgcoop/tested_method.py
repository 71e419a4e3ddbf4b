"""KgCoOp for the common tests."""

from hf_prompt_models import KgCoOpForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(KgCoOpForImageClassification, ["context"])
