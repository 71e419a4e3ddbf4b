"""Selection of the demo for a model."""

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
    """Return the folder of a model.

    Args:
        model: folder of a model, folder of a training run, or Hub id. A Hub id is returned unchanged.

    Raises:
        ValueError: if a folder has no model of this package, or several.
    """
    if os.path.exists(model) or not is_hub_id(os.fspath(model)):
        return model_directory(os.fspath(model))
    return Path(model)


def find_page(model: str | os.PathLike) -> tuple[Path, Page]:
    """Find the demo for a model.

    Args:
        model: folder of a model, folder of a training run, or Hub id.

    Returns:
        The folder or Hub id of the model, and the function that builds the demo.

    Raises:
        OSError: if the model does not exist.
        ValueError: if there is no demo for this kind of model.
    """
    place = find_model(model)
    config = AutoConfig.from_pretrained(place)
    if not isinstance(config, PromptConfig):
        raise ValueError(describe_foreign(repr(str(model)), config.model_type, config.architectures))
    return place, import_module(task_of(config).page).page
