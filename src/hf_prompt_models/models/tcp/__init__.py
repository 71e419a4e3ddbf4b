"""TCP: configuration, model and processor, registered with the Auto classes."""

from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models.models.tcp.configuration_tcp import TCPConfig
from hf_prompt_models.models.tcp.modeling_tcp import TCPForImageClassification, TCPPreTrainedModel
from hf_prompt_models.models.tcp.processing_tcp import TCPProcessor


AutoConfig.register(TCPConfig.model_type, TCPConfig, exist_ok=True)
AutoModelForImageClassification.register(TCPConfig, TCPForImageClassification, exist_ok=True)
AutoProcessor.register(TCPConfig, TCPProcessor, exist_ok=True)

__all__ = ["TCPConfig", "TCPForImageClassification", "TCPPreTrainedModel", "TCPProcessor"]
