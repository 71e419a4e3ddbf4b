"""Recognise backbones that classify without training, and the kind of files to classify."""

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedConfig

from hf_prompt_models.backbones.clip_checkpoints import is_open_clip
from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.backbones.two_tower import BACKBONES
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES


def is_backbone(name_or_path: str) -> bool:
    """Return whether a Hub id or folder is a backbone that classifies by prompts, and not a model of this package.

    Raises:
        OSError: If it is neither a folder with a `config.json` nor an accessible repository.
    """
    if name_or_path == PLAYGROUND or is_open_clip(name_or_path):
        return True
    config, _ = PreTrainedConfig.get_config_dict(name_or_path)
    return config.get("model_type") in BACKBONES


def kind_of_files(paths: Iterable[str]) -> str:
    """Return the kind of files, and of those in folders, by their suffixes: "image" or "video".

    Raises:
        ValueError: If there are both.
    """
    paths = list(paths)
    files = [file for path in map(Path, paths) for file in (path.rglob("*") if path.is_dir() else [path])]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if videos and images:
        raise ValueError(
            f"There are images, such as {images[0]}, and videos, such as {videos[0]}. Classify them in "
            "separate commands."
        )
    return "video" if videos else "image"
