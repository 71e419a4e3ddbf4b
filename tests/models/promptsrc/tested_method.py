"""PromptSRC for the common tests."""

from hf_prompt_models import PromptSRCForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(
    PromptSRCForImageClassification,
    ["context", "deep_context", "vision_context", "deep_vision_context"],
    prompt_depth=2,
    templates=["a photo of a {}.", "the {}"],
)
