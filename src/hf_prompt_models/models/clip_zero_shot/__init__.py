"""Zero-shot CLIP prompts: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.clip_zero_shot.configuration_clip_zero_shot import ClipZeroShotConfig
from hf_prompt_models.models.clip_zero_shot.modeling_clip_zero_shot import (
    ClipZeroShotForImageClassification,
    ClipZeroShotPreTrainedModel,
)
from hf_prompt_models.models.clip_zero_shot.processing_clip_zero_shot import ClipZeroShotProcessor


AutoConfig.register(ClipZeroShotConfig.model_type, ClipZeroShotConfig, exist_ok=True)
AutoModelForImageClassification.register(ClipZeroShotConfig, ClipZeroShotForImageClassification, exist_ok=True)
AutoProcessor.register(ClipZeroShotConfig, ClipZeroShotProcessor, exist_ok=True)

__all__ = [
    "ClipZeroShotConfig",
    "ClipZeroShotForImageClassification",
    "ClipZeroShotPreTrainedModel",
    "ClipZeroShotProcessor",
]
