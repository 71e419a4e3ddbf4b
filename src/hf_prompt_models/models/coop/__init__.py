"""CoOp: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.coop.configuration_coop import CoOpConfig
from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification, CoOpPreTrainedModel
from hf_prompt_models.models.coop.processing_coop import CoOpProcessor


AutoConfig.register(CoOpConfig.model_type, CoOpConfig, exist_ok=True)
AutoModelForImageClassification.register(CoOpConfig, CoOpForImageClassification, exist_ok=True)
AutoProcessor.register(CoOpConfig, CoOpProcessor, exist_ok=True)

__all__ = ["CoOpConfig", "CoOpForImageClassification", "CoOpPreTrainedModel", "CoOpProcessor"]
