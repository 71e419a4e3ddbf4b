"""ProGrad for the common tests."""

from hf_prompt_models import ProGradForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(ProGradForImageClassification, ["context"], n_ctx=6)
