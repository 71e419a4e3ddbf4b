"""IVLP for the common tests."""

from hf_prompt_models import IVLPForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(
    IVLPForImageClassification,
    ["context", "deep_context", "vision_context", "deep_vision_context"],
    text_depth=2,
    vision_depth=2,
)
