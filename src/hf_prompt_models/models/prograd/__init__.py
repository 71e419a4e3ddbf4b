"""ProGrad: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.prograd.configuration_prograd import ProGradConfig
from hf_prompt_models.models.prograd.modeling_prograd import ProGradForImageClassification, ProGradPreTrainedModel
from hf_prompt_models.models.prograd.processing_prograd import ProGradProcessor


AutoConfig.register(ProGradConfig.model_type, ProGradConfig, exist_ok=True)
AutoModelForImageClassification.register(ProGradConfig, ProGradForImageClassification, exist_ok=True)
AutoProcessor.register(ProGradConfig, ProGradProcessor, exist_ok=True)

__all__ = ["ProGradConfig", "ProGradForImageClassification", "ProGradPreTrainedModel", "ProGradProcessor"]
