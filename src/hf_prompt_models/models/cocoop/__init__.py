"""CoCoOp: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.cocoop.configuration_cocoop import CoCoOpConfig
from hf_prompt_models.models.cocoop.modeling_cocoop import CoCoOpForImageClassification, CoCoOpPreTrainedModel
from hf_prompt_models.models.cocoop.processing_cocoop import CoCoOpProcessor


AutoConfig.register(CoCoOpConfig.model_type, CoCoOpConfig, exist_ok=True)
AutoModelForImageClassification.register(CoCoOpConfig, CoCoOpForImageClassification, exist_ok=True)
AutoProcessor.register(CoCoOpConfig, CoCoOpProcessor, exist_ok=True)

__all__ = ["CoCoOpConfig", "CoCoOpForImageClassification", "CoCoOpPreTrainedModel", "CoCoOpProcessor"]
