"""Anchored prompts, as the common tests run them."""

from anchored_prompts.anchored.modeling_anchored import AnchoredForImageClassification

from tests.tested_method import prompted_clip


METHOD = prompted_clip(AnchoredForImageClassification, ["context"])
