"""MaPLe: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.maple.configuration_maple import MaPLeConfig
from hf_prompt_models.models.maple.modeling_maple import MaPLeForImageClassification, MaPLePreTrainedModel
from hf_prompt_models.models.maple.processing_maple import MaPLeProcessor


AutoConfig.register(MaPLeConfig.model_type, MaPLeConfig, exist_ok=True)
AutoModelForImageClassification.register(MaPLeConfig, MaPLeForImageClassification, exist_ok=True)
AutoProcessor.register(MaPLeConfig, MaPLeProcessor, exist_ok=True)

__all__ = ["MaPLeConfig", "MaPLeForImageClassification", "MaPLePreTrainedModel", "MaPLeProcessor"]
