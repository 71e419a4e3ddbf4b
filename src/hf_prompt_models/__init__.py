"""Multimodal prompt methods as Hugging Face Transformers models.

Importing this package registers all methods with the Auto classes. After that,
`AutoModelForImageClassification.from_pretrained(folder)` and `pipeline("image-classification", model=folder)` work, as
do the classes and pipelines for videos, and `pipeline("image-text-to-text", model=folder)` generates text.
"""

from typing import TYPE_CHECKING

from hf_prompt_models.backbones.clip_resnet import (
    ClipResNetConfig,
    ClipResNetModel,
    ClipResNetVisionConfig,
    ClipResNetVisionModel,
)
from hf_prompt_models.backbones.image_processing_open_clip import OpenClipImageProcessor
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.data.class_prompts_file import read_class_prompts
from hf_prompt_models.modeling_utils import PromptPreTrainedModel
from hf_prompt_models.models.action_clip import (
    ActionClipConfig,
    ActionClipForVideoClassification,
    ActionClipImageProcessor,
    ActionClipProcessor,
    ActionClipVideoClassificationPipeline,
)
from hf_prompt_models.models.alpro import (
    AlproConfig,
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproImageProcessor,
    AlproModel,
    AlproProcessor,
    AlproPrompter,
    AlproVideoIndex,
    AlproVisionConfig,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
)
from hf_prompt_models.models.clip_lora import ClipLoraConfig, ClipLoraForImageClassification, ClipLoraProcessor
from hf_prompt_models.models.clip_zero_shot import (
    ClipZeroShotConfig,
    ClipZeroShotForImageClassification,
    ClipZeroShotProcessor,
)
from hf_prompt_models.models.cocoop import CoCoOpConfig, CoCoOpForImageClassification, CoCoOpProcessor
from hf_prompt_models.models.coop import CoOpConfig, CoOpForImageClassification, CoOpProcessor
from hf_prompt_models.models.cpt import (
    CptConfig,
    CptForRegionClassification,
    CptForRelationDetection,
    CptForVisualGrounding,
    CptProcessor,
    OscarConfig,
    OscarForMaskedLM,
    OscarModel,
    VisualGroundingPipeline,
)
from hf_prompt_models.models.feature_adapter import (
    FeatureAdapterConfig,
    FeatureAdapterForImageClassification,
    FeatureAdapterProcessor,
)
from hf_prompt_models.models.frozen import (
    FrozenConfig,
    FrozenForConditionalGeneration,
    FrozenProcessor,
    build_fewshot_prompt,
)
from hf_prompt_models.models.ivlp import IVLPConfig, IVLPForImageClassification, IVLPProcessor
from hf_prompt_models.models.kgcoop import KgCoOpConfig, KgCoOpForImageClassification, KgCoOpProcessor
from hf_prompt_models.models.mantis import MantisConfig, MantisForConditionalGeneration, MantisProcessor
from hf_prompt_models.models.maple import MaPLeConfig, MaPLeForImageClassification, MaPLeProcessor
from hf_prompt_models.models.mmrl import MMRLConfig, MMRLForImageClassification, MMRLProcessor
from hf_prompt_models.models.prograd import ProGradConfig, ProGradForImageClassification, ProGradProcessor
from hf_prompt_models.models.promptsrc import PromptSRCConfig, PromptSRCForImageClassification, PromptSRCProcessor
from hf_prompt_models.models.tcp import TCPConfig, TCPForImageClassification, TCPProcessor
from hf_prompt_models.pipelines import replace_stock_pipelines
from hf_prompt_models.processing_utils import PromptProcessor
from hf_prompt_models.utils.lazy import lazy_names
from hf_prompt_models.version import __version__


if TYPE_CHECKING:
    from hf_prompt_models.prompts.averaging import PromptAveragingCallback


replace_stock_pipelines()


# Imported on first use, because it imports the Trainer, which inference does not need.
__getattr__, __dir__ = lazy_names(__name__, {"PromptAveragingCallback": "hf_prompt_models.prompts.averaging"})


__all__ = [
    "CoCoOpConfig",
    "CoCoOpForImageClassification",
    "CoCoOpProcessor",
    "IVLPConfig",
    "IVLPForImageClassification",
    "IVLPProcessor",
    "KgCoOpConfig",
    "KgCoOpForImageClassification",
    "KgCoOpProcessor",
    "MaPLeConfig",
    "MaPLeForImageClassification",
    "MaPLeProcessor",
    "MMRLConfig",
    "MMRLForImageClassification",
    "MMRLProcessor",
    "OpenClipImageProcessor",
    "PromptAveragingCallback",
    "PromptConfig",
    "PromptPreTrainedModel",
    "PromptProcessor",
    "ProGradConfig",
    "ProGradForImageClassification",
    "ProGradProcessor",
    "PromptSRCConfig",
    "PromptSRCForImageClassification",
    "PromptSRCProcessor",
    "TCPConfig",
    "TCPForImageClassification",
    "TCPProcessor",
    "ActionClipConfig",
    "ActionClipForVideoClassification",
    "ActionClipImageProcessor",
    "ActionClipProcessor",
    "ActionClipVideoClassificationPipeline",
    "AlproConfig",
    "AlproForPreTraining",
    "AlproForVideoQuestionAnswering",
    "AlproForVideoTextRetrieval",
    "AlproImageProcessor",
    "AlproModel",
    "AlproProcessor",
    "AlproPrompter",
    "AlproVideoIndex",
    "AlproVisionConfig",
    "ClipLoraConfig",
    "ClipLoraForImageClassification",
    "ClipLoraProcessor",
    "ClipResNetConfig",
    "ClipResNetModel",
    "ClipResNetVisionConfig",
    "ClipResNetVisionModel",
    "ClipZeroShotConfig",
    "ClipZeroShotForImageClassification",
    "ClipZeroShotProcessor",
    "CoOpConfig",
    "CoOpForImageClassification",
    "CoOpProcessor",
    "CptConfig",
    "CptForRegionClassification",
    "CptForRelationDetection",
    "CptForVisualGrounding",
    "CptProcessor",
    "OscarConfig",
    "OscarForMaskedLM",
    "OscarModel",
    "VisualGroundingPipeline",
    "FeatureAdapterConfig",
    "FeatureAdapterForImageClassification",
    "FeatureAdapterProcessor",
    "FrozenConfig",
    "FrozenForConditionalGeneration",
    "FrozenProcessor",
    "MantisConfig",
    "MantisForConditionalGeneration",
    "MantisProcessor",
    "VideoQuestionAnsweringPipeline",
    "VideoTextRetrievalPipeline",
    "__version__",
    "build_fewshot_prompt",
    "read_class_names",
    "read_class_prompts",
]
