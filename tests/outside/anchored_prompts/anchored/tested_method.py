"""Anchored prompts for the common tests."""

from anchored_prompts.anchored.modeling_anchored import AnchoredForImageClassification

from tests.tested_method import prompted_clip


METHOD = prompted_clip(AnchoredForImageClassification, ["context"])
