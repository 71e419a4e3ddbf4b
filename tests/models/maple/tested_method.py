"""MaPLe for the common tests."""

from hf_prompt_models import MaPLeForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(
    MaPLeForImageClassification,
    ["context", "deep_context", *(f"projections.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias"))],
    prompt_depth=2,
)
