"""Which page fits which model."""

import os
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from transformers import AutoConfig, PreTrainedConfig

from hf_prompt_models import (
    ActionClipConfig,
    AlproConfig,
    ClipZeroShotConfig,
    CoCoOpConfig,
    CoOpConfig,
    CptConfig,
    FrozenConfig,
    IVLPConfig,
    KgCoOpConfig,
    MantisConfig,
    MaPLeConfig,
    MMRLConfig,
    ProGradConfig,
    PromptSRCConfig,
    TCPConfig,
)
from hf_prompt_models.app import (
    image_classification,
    product_description,
    video_classification,
    video_text_retrieval,
    visual_grounding,
)
from hf_prompt_models.app.options import Options
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.training.foreign_checkpoints import describe_foreign, is_hub_id
from hf_prompt_models.training.run_folder import model_directory


Page = Callable[[Path, Options], gr.Blocks]

PAGES: dict[type[PreTrainedConfig], Page] = {
    ActionClipConfig: video_classification.page,
    AlproConfig: video_text_retrieval.page,
    ClipZeroShotConfig: image_classification.page,
    CoOpConfig: image_classification.page,
    CoCoOpConfig: image_classification.page,
    CptConfig: visual_grounding.page,
    FrozenConfig: product_description.page,
    IVLPConfig: image_classification.page,
    KgCoOpConfig: image_classification.page,
    MantisConfig: product_description.page,
    MaPLeConfig: image_classification.page,
    MMRLConfig: image_classification.page,
    ProGradConfig: image_classification.page,
    PromptSRCConfig: image_classification.page,
    TCPConfig: image_classification.page,
}
"""By the class of the model's configuration."""


def find_model(model: str | os.PathLike) -> Path:
    """Return the folder of a model, where a run's folder is named; a Hub id stays as it is.

    Raises:
        ValueError: if a path holds no model of this package, or several.
    """
    if os.path.exists(model) or not is_hub_id(os.fspath(model)):
        return model_directory(os.fspath(model))
    return Path(model)


def find_page(model: str | os.PathLike) -> tuple[Path, Page]:
    """A model's place and the page that fits it.

    Raises:
        OSError: if there is no such model.
        ValueError: if there is no page for it.
    """
    place = find_model(model)
    config = AutoConfig.from_pretrained(place)
    if not isinstance(config, PromptConfig):
        raise ValueError(describe_foreign(repr(str(model)), config.model_type, config.architectures))
    if type(config) not in PAGES:
        known = ", ".join(sorted(each.model_type for each in PAGES))
        raise ValueError(
            f"There is no page for {str(model)!r}, a model of type {config.model_type!r}: there are pages for {known}."
        )
    return place, PAGES[type(config)]
