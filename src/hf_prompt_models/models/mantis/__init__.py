"""MAnTiS, and its registration with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from hf_prompt_models.models.mantis.configuration_mantis import MantisConfig
from hf_prompt_models.models.mantis.modeling_mantis import MantisForConditionalGeneration
from hf_prompt_models.models.mantis.processing_mantis import MantisProcessor


AutoConfig.register(MantisConfig.model_type, MantisConfig, exist_ok=True)
AutoModelForImageTextToText.register(MantisConfig, MantisForConditionalGeneration, exist_ok=True)
AutoProcessor.register(MantisConfig, MantisProcessor, exist_ok=True)

__all__ = ["MantisConfig", "MantisForConditionalGeneration", "MantisProcessor"]
