"""CLIP-LoRA: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.clip_lora.configuration_clip_lora import ClipLoraConfig
from hf_prompt_models.models.clip_lora.modeling_clip_lora import (
    ClipLoraForImageClassification,
    ClipLoraPreTrainedModel,
)
from hf_prompt_models.models.clip_lora.processing_clip_lora import ClipLoraProcessor


AutoConfig.register(ClipLoraConfig.model_type, ClipLoraConfig, exist_ok=True)
AutoModelForImageClassification.register(ClipLoraConfig, ClipLoraForImageClassification, exist_ok=True)
AutoProcessor.register(ClipLoraConfig, ClipLoraProcessor, exist_ok=True)

__all__ = ["ClipLoraConfig", "ClipLoraForImageClassification", "ClipLoraPreTrainedModel", "ClipLoraProcessor"]
