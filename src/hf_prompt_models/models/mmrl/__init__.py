"""MMRL: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.mmrl.configuration_mmrl import MMRLConfig
from hf_prompt_models.models.mmrl.modeling_mmrl import MMRLForImageClassification, MMRLPreTrainedModel
from hf_prompt_models.models.mmrl.processing_mmrl import MMRLProcessor


AutoConfig.register(MMRLConfig.model_type, MMRLConfig, exist_ok=True)
AutoModelForImageClassification.register(MMRLConfig, MMRLForImageClassification, exist_ok=True)
AutoProcessor.register(MMRLConfig, MMRLProcessor, exist_ok=True)

__all__ = ["MMRLConfig", "MMRLForImageClassification", "MMRLPreTrainedModel", "MMRLProcessor"]
