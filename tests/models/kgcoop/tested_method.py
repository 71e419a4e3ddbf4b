"""KgCoOp, as the common tests run it."""

from hf_prompt_models import KgCoOpForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(KgCoOpForImageClassification, ["context"])
