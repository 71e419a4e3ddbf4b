"""Distinguish models that this package trained from everything else that a path may hold."""

import re
import zipfile
from pathlib import Path

from transformers import CONFIG_MAPPING
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME

from hf_prompt_models.backbones.two_tower import BACKBONES
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.utils.files import read_json


MAX_CONFIG_BYTES = 2**26
ORIGINAL_WEIGHTS = frozenset({".pth", ".pt", ".tar", ".ckpt", ".bin"})
"""Suffixes of the files that the original code of the methods writes."""
WHAT_TO_PASS = "Pass the folder that `hf-prompt train` wrote (its --output_dir)"


def check_trained(folder: Path) -> None:
    """Check that a folder holds a model of this package.

    Raises:
        ValueError: if it does not; the message says what the path holds instead and what to do.
    """
    file = folder / CONFIG_NAME
    if not file.is_file():
        raise ValueError(f"{folder} contains no trained model: {describe_place(folder)}")
    config = read_json(file, MAX_CONFIG_BYTES, "configurations")
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(model_type, str):
        raise ValueError(f"{file} has no model_type, so {folder} is not a model of this package. {WHAT_TO_PASS}.")
    if not is_prompt_model(model_type):
        raise ValueError(describe_foreign(folder, model_type, config.get("architectures")))


def check_backbone(folder: Path, backbone: str | None = None) -> None:
    """Check, before data are read, that the backbone of a model that was saved without it can be found.

    Args:
        folder: folder of the model.
        backbone: folder or Hub id of the backbone, if it has moved.

    Raises:
        OSError: if it cannot be found; the message says what to pass.
    """
    config = read_json(folder / CONFIG_NAME, MAX_CONFIG_BYTES, "configurations")
    place = backbone or config.get("base_model_name_or_path")
    if config.get("weights_scope") != "prompt" or not isinstance(place, str):
        return
    if backbone is None and Path(place).is_absolute() and not Path(place).is_dir():
        raise OSError(
            f"{folder} was trained on the backbone in {place!r}, which does not exist. Pass the folder of the "
            "backbone with --backbone."
        )
    check_reachable(place)


def is_prompt_model(model_type: str) -> bool:
    """Return whether a `model_type` belongs to a prompt method."""
    return model_type in CONFIG_MAPPING and issubclass(CONFIG_MAPPING[model_type], PromptConfig)


def describe_foreign(place: object, model_type: str, architectures: object) -> str:
    """Return a message that says what a checkpoint of another package is and how to use it."""
    untrained = (
        " `hf-prompt predict` uses it for zero-shot classification if you pass --class_names FILE."
        if model_type in BACKBONES
        else ""
    )
    named = architectures[0] if isinstance(architectures, list) and architectures else "model"
    return (
        f"{place} contains a {str(named)[:80]} of type {model_type[:80]!r}, which was not trained by a method "
        "of this package. Pass it to `hf-prompt train` with --backbone, and use the folder that this command "
        f"writes; other models run with the pipeline() of transformers.{untrained}"
    )


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a repository on the Hub, `user/model`."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name) is not None


def describe_place(path: Path) -> str:
    """Return a message that says what a path without a `config.json` is and what to pass instead."""
    if not path.exists():
        hint = ""
        if is_hub_id(str(path)):
            hint = f" To use a model on the Hub, download it first: `hf download {path} --local-dir DIR`."
        return f"the folder does not exist. {WHAT_TO_PASS}.{hint}"
    if not path.is_dir():
        if zipfile.is_zipfile(path) and path.suffix.lower() not in ORIGINAL_WEIGHTS:  # torch also writes zip archives
            return "it is a zip archive. Extract it, and pass the folder in it that contains a config.json."
        if path.suffix.lower() in ORIGINAL_WEIGHTS:
            return "it is a weight file. `hf-prompt convert` reads checkpoints of the original code of the methods."
        return f"it is a file. {WHAT_TO_PASS}."
    names = sorted(each.name for each in path.iterdir())
    if ADAPTER_CONFIG_NAME in names:
        return (
            f"it contains only an adapter ({ADAPTER_CONFIG_NAME}), without the model that it was trained on. "
            "Load that model, call load_adapter on it with this folder, and save both with save_pretrained."
        )
    if "run.json" in names or any(name.startswith("seed-") for name in names):
        return (
            "it is a run that ended before its first checkpoint. Train again, or resume it with "
            "--resume_from_checkpoint true."
        )
    inner = sorted(each.parent for each in path.glob(f"[!.]*/{CONFIG_NAME}"))
    inner += sorted(each.parent for each in path.glob("[!.]*/results.json") if each.parent not in inner)
    if inner:
        return f"its subfolders contain models. Pass one of them, such as {inner[0]}."
    if "model_index.json" in names:
        return f"it is a diffusers pipeline (model_index.json). {WHAT_TO_PASS}."
    suffixes = {Path(name).suffix.lower() for name in names}
    if suffixes & ORIGINAL_WEIGHTS:
        return (
            f"it has weights without a {CONFIG_NAME}. `hf-prompt convert` reads checkpoints of the original "
            "code of the methods."
        )
    if suffixes & (IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        return "it contains images or videos. Put the model first on the command line, then the files."
    holds = f"contains {', '.join(names[:3])}" if names else "is empty"
    return f"it has no {CONFIG_NAME}, and it {holds}. {WHAT_TO_PASS}."
