"""ALPRO, registered with the Auto classes and as the pipelines for video-text retrieval and question answering."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig, AlproVisionConfig
from hf_prompt_models.models.alpro.image_processing_alpro import AlproImageProcessor
from hf_prompt_models.models.alpro.modeling_alpro import AlproModel, AlproPreTrainedModel
from hf_prompt_models.models.alpro.modeling_alpro_pretraining import AlproForPreTraining
from hf_prompt_models.models.alpro.modeling_alpro_prompter import AlproPrompter
from hf_prompt_models.models.alpro.modeling_alpro_question_answering import AlproForVideoQuestionAnswering
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.pipeline_alpro import (
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
    register,
)
from hf_prompt_models.models.alpro.processing_alpro import AlproProcessor
from hf_prompt_models.models.alpro.video_index_alpro import AlproVideoIndex


for _config in (AlproConfig, AlproVisionConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
# `architectures` in a checkpoint's configuration selects the class.
AutoModel.register(
    AlproConfig,
    (AlproModel, AlproForPreTraining, AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering, AlproPrompter),
    exist_ok=True,
)
AutoProcessor.register(AlproConfig, AlproProcessor, exist_ok=True)
# PIL is used even if torchvision is installed and preferred, because torchvision's interpolation differs.
_backends = dict.fromkeys(("pil", "torchvision"), AlproImageProcessor)
AutoImageProcessor.register(AlproConfig, image_processor_classes=_backends, exist_ok=True)
register()

__all__ = [
    "AlproConfig",
    "AlproForPreTraining",
    "AlproForVideoQuestionAnswering",
    "AlproForVideoTextRetrieval",
    "AlproImageProcessor",
    "AlproModel",
    "AlproPreTrainedModel",
    "AlproProcessor",
    "AlproPrompter",
    "AlproVideoIndex",
    "AlproVisionConfig",
    "VideoQuestionAnsweringPipeline",
    "VideoTextRetrievalPipeline",
]
