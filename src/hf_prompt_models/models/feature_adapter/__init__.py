"""Feature adapters: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import FeatureAdapterConfig
from hf_prompt_models.models.feature_adapter.modeling_feature_adapter import (
    FeatureAdapterForImageClassification,
    FeatureAdapterPreTrainedModel,
)
from hf_prompt_models.models.feature_adapter.processing_feature_adapter import FeatureAdapterProcessor


AutoConfig.register(FeatureAdapterConfig.model_type, FeatureAdapterConfig, exist_ok=True)
AutoModelForImageClassification.register(FeatureAdapterConfig, FeatureAdapterForImageClassification, exist_ok=True)
AutoProcessor.register(FeatureAdapterConfig, FeatureAdapterProcessor, exist_ok=True)

__all__ = [
    "FeatureAdapterConfig",
    "FeatureAdapterForImageClassification",
    "FeatureAdapterPreTrainedModel",
    "FeatureAdapterProcessor",
]
