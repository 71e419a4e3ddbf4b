"""CLIP with a ResNet as image tower, registered with the Auto classes."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPProcessor,
    CLIPTokenizer,
)

from hf_prompt_models.backbones.clip_resnet.configuration_clip_resnet import ClipResNetConfig, ClipResNetVisionConfig
from hf_prompt_models.backbones.clip_resnet.modeling_clip_resnet import (
    ClipResNetModel,
    ClipResNetPreTrainedModel,
    ClipResNetVisionModel,
)


for _config, _model in ((ClipResNetConfig, ClipResNetModel), (ClipResNetVisionConfig, ClipResNetVisionModel)):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
AutoModelForZeroShotImageClassification.register(ClipResNetConfig, ClipResNetModel, exist_ok=True)
AutoProcessor.register(ClipResNetConfig, CLIPProcessor, exist_ok=True)
AutoTokenizer.register(ClipResNetConfig, CLIPTokenizer, exist_ok=True)
# Importing the processor of the torchvision backend logs a warning where torchvision is not installed.
_backends = dict.fromkeys(("pil", "torchvision"), CLIPImageProcessorPil)
AutoImageProcessor.register(ClipResNetConfig, image_processor_classes=_backends, exist_ok=True)

__all__ = [
    "ClipResNetConfig",
    "ClipResNetModel",
    "ClipResNetPreTrainedModel",
    "ClipResNetVisionConfig",
    "ClipResNetVisionModel",
]
