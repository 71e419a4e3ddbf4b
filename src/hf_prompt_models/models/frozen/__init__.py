"""Frozen, and its registration with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from hf_prompt_models.models.frozen.configuration_frozen import FrozenConfig
from hf_prompt_models.models.frozen.few_shot_frozen import build_fewshot_prompt
from hf_prompt_models.models.frozen.modeling_frozen import FrozenForConditionalGeneration
from hf_prompt_models.models.frozen.processing_frozen import FrozenProcessor


AutoConfig.register(FrozenConfig.model_type, FrozenConfig, exist_ok=True)
AutoModelForImageTextToText.register(FrozenConfig, FrozenForConditionalGeneration, exist_ok=True)
AutoProcessor.register(FrozenConfig, FrozenProcessor, exist_ok=True)

__all__ = ["FrozenConfig", "FrozenForConditionalGeneration", "FrozenProcessor", "build_fewshot_prompt"]
