"""PromptSRC: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.promptsrc.configuration_promptsrc import PromptSRCConfig
from hf_prompt_models.models.promptsrc.modeling_promptsrc import (
    PromptSRCForImageClassification,
    PromptSRCPreTrainedModel,
)
from hf_prompt_models.models.promptsrc.processing_promptsrc import PromptSRCProcessor


AutoConfig.register(PromptSRCConfig.model_type, PromptSRCConfig, exist_ok=True)
AutoModelForImageClassification.register(PromptSRCConfig, PromptSRCForImageClassification, exist_ok=True)
AutoProcessor.register(PromptSRCConfig, PromptSRCProcessor, exist_ok=True)

__all__ = ["PromptSRCConfig", "PromptSRCForImageClassification", "PromptSRCPreTrainedModel", "PromptSRCProcessor"]
