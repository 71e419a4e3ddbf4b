"""IVLP: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.ivlp.configuration_ivlp import IVLPConfig
from hf_prompt_models.models.ivlp.modeling_ivlp import IVLPForImageClassification, IVLPPreTrainedModel
from hf_prompt_models.models.ivlp.processing_ivlp import IVLPProcessor


AutoConfig.register(IVLPConfig.model_type, IVLPConfig, exist_ok=True)
AutoModelForImageClassification.register(IVLPConfig, IVLPForImageClassification, exist_ok=True)
AutoProcessor.register(IVLPConfig, IVLPProcessor, exist_ok=True)

__all__ = ["IVLPConfig", "IVLPForImageClassification", "IVLPPreTrainedModel", "IVLPProcessor"]
