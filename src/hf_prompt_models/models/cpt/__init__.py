"""CPT, registered with the Auto classes and as the pipeline "visual-grounding", and its backbone Oscar."""

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoProcessor

from hf_prompt_models.models.cpt.configuration_cpt import CptConfig
from hf_prompt_models.models.cpt.configuration_oscar import OscarConfig
from hf_prompt_models.models.cpt.modeling_cpt import CptForVisualGrounding, CptPreTrainedModel
from hf_prompt_models.models.cpt.modeling_cpt_words import CptForRegionClassification, CptForRelationDetection
from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM, OscarModel, OscarPreTrainedModel
from hf_prompt_models.models.cpt.pipeline_cpt import VisualGroundingPipeline, register
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor


AutoConfig.register(OscarConfig.model_type, OscarConfig, exist_ok=True)
AutoModelForMaskedLM.register(OscarConfig, OscarForMaskedLM, exist_ok=True)
AutoConfig.register(CptConfig.model_type, CptConfig, exist_ok=True)
AutoModel.register(
    CptConfig, (CptForVisualGrounding, CptForRegionClassification, CptForRelationDetection), exist_ok=True
)
AutoProcessor.register(CptConfig, CptProcessor, exist_ok=True)
register()

__all__ = [
    "CptConfig",
    "CptForRegionClassification",
    "CptForRelationDetection",
    "CptForVisualGrounding",
    "CptPreTrainedModel",
    "CptProcessor",
    "OscarConfig",
    "OscarForMaskedLM",
    "OscarModel",
    "OscarPreTrainedModel",
    "VisualGroundingPipeline",
]
