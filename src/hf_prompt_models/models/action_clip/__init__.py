"""ActionCLIP: configuration, model and processors, registered with the Auto classes and a pipeline."""

from transformers import AutoConfig, AutoImageProcessor, AutoModelForVideoClassification, AutoProcessor

from hf_prompt_models.models.action_clip.configuration_action_clip import ActionClipConfig
from hf_prompt_models.models.action_clip.image_processing_action_clip import ActionClipImageProcessor
from hf_prompt_models.models.action_clip.modeling_action_clip import (
    ActionClipForVideoClassification,
    ActionClipPreTrainedModel,
)
from hf_prompt_models.models.action_clip.pipeline_action_clip import (
    ActionClipVideoClassificationPipeline,
    replace_stock_pipeline,
)
from hf_prompt_models.models.action_clip.processing_action_clip import ActionClipProcessor


AutoConfig.register(ActionClipConfig.model_type, ActionClipConfig, exist_ok=True)
AutoModelForVideoClassification.register(ActionClipConfig, ActionClipForVideoClassification, exist_ok=True)
AutoProcessor.register(ActionClipConfig, ActionClipProcessor, exist_ok=True)
# Only the PIL backend, even if torchvision is installed and would be preferred: its interpolation differs.
_backends = dict.fromkeys(("pil", "torchvision"), ActionClipImageProcessor)
AutoImageProcessor.register(ActionClipConfig, image_processor_classes=_backends, exist_ok=True)
replace_stock_pipeline()

__all__ = [
    "ActionClipConfig",
    "ActionClipForVideoClassification",
    "ActionClipImageProcessor",
    "ActionClipPreTrainedModel",
    "ActionClipProcessor",
    "ActionClipVideoClassificationPipeline",
]
