"""Which page fits which model."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import gradio as gr
from transformers import AutoConfig

from hf_prompt_models.app.options import Options
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.tasks.base import task_of
from hf_prompt_models.training.foreign_checkpoints import describe_foreign, is_hub_id
from hf_prompt_models.training.run_folder import model_directory


Page = Callable[[Path, Options], gr.Blocks]


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
    return place, import_module(task_of(config).page).page
