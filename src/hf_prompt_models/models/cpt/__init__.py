"""CPT, registered with the Auto classes, and Oscar, a backbone of its own."""

from transformers import AutoConfig, AutoModelForMaskedLM

from hf_prompt_models.models.cpt.configuration_oscar import OscarConfig
from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM, OscarModel, OscarPreTrainedModel


AutoConfig.register(OscarConfig.model_type, OscarConfig, exist_ok=True)
AutoModelForMaskedLM.register(OscarConfig, OscarForMaskedLM, exist_ok=True)

__all__ = ["OscarConfig", "OscarForMaskedLM", "OscarModel", "OscarPreTrainedModel"]
