"""Anchored prompts, registered with the Auto classes."""

from anchored_prompts.anchored.configuration_anchored import AnchoredConfig
from anchored_prompts.anchored.modeling_anchored import AnchoredForImageClassification
from anchored_prompts.anchored.processing_anchored import AnchoredProcessor
from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor


AutoConfig.register(AnchoredConfig.model_type, AnchoredConfig)
AutoModelForImageClassification.register(AnchoredConfig, AnchoredForImageClassification)
AutoProcessor.register(AnchoredConfig, AnchoredProcessor)

__all__ = ["AnchoredConfig", "AnchoredForImageClassification", "AnchoredProcessor"]
