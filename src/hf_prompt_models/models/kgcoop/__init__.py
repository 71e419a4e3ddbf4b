"""KgCoOp: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.kgcoop.configuration_kgcoop import KgCoOpConfig
from hf_prompt_models.models.kgcoop.modeling_kgcoop import KgCoOpForImageClassification, KgCoOpPreTrainedModel
from hf_prompt_models.models.kgcoop.processing_kgcoop import KgCoOpProcessor


AutoConfig.register(KgCoOpConfig.model_type, KgCoOpConfig, exist_ok=True)
AutoModelForImageClassification.register(KgCoOpConfig, KgCoOpForImageClassification, exist_ok=True)
AutoProcessor.register(KgCoOpConfig, KgCoOpProcessor, exist_ok=True)

__all__ = ["KgCoOpConfig", "KgCoOpForImageClassification", "KgCoOpPreTrainedModel", "KgCoOpProcessor"]
