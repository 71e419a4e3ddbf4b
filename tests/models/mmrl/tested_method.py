"""MMRL for the common tests."""

from hf_prompt_models import MMRLForImageClassification
from tests.tested_method import prompted_clip


METHOD = prompted_clip(
    MMRLForImageClassification,
    [
        "representation",
        "representation_projection.weight",
        *(f"{tower}_projections.0.{kind}" for tower in ("text", "vision") for kind in ("weight", "bias")),
    ],
    first_layer=1,
    rep_dim=16,
)
