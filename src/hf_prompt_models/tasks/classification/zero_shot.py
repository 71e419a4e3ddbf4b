"""Classifiers that need no training: a backbone and class names in hand-written templates."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.backbones.two_tower import BACKBONES
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES
from hf_prompt_models.models.action_clip import ActionClipForVideoClassification
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE
from hf_prompt_models.tasks.classification.prediction import IMAGES, VIDEOS, Kind
from hf_prompt_models.tasks.classification.templates import read_templates


def build_zero_shot(
    kind: Kind, backbone: str, class_names: str | os.PathLike, templates: Sequence[str] | None = None
) -> Any:
    """Return a classifier from a backbone and class names, without any training.

    Args:
        kind: what it classifies. Videos: CLIP on each frame, and the mean of the frames' features.
        backbone: Hub id, folder, or "playground".
        class_names: a file, see `read_class_names_file`.
        templates: as `read_templates` takes them. Default: "a photo of a {}.", for videos ActionCLIP's 16.

    Raises:
        OSError: if a file or the backbone is missing.
        TypeError: if the backbone is of another type.
        ValueError: if names or templates cannot be used.
    """
    names = read_class_names(class_names)
    sentences = None if templates is None else read_templates(templates)
    if kind is VIDEOS:
        return ActionClipForVideoClassification.from_backbone(
            backbone, names, templates=sentences, post_network="mean", trainable="head"
        ).eval()
    default = [DEFAULT_TEMPLATE]
    return ClipZeroShotForImageClassification.from_backbone(
        backbone, names, default if sentences is None else sentences
    ).eval()


def is_backbone(name_or_path: str) -> bool:
    """Return whether a Hub id or folder is a backbone that classifies by prompts, not a model of this package.

    Raises:
        OSError: if it is neither a folder with a `config.json` nor a repository that can be reached.
    """
    if name_or_path == PLAYGROUND:
        return True
    config, _ = PreTrainedConfig.get_config_dict(name_or_path)
    known = {backbone.model_class.config_class.model_type for backbone in BACKBONES.values()}
    return config.get("model_type") in known


def kind_of_files(paths: Iterable[str]) -> Kind:
    """Return whether files, and those in folders, are images or videos, by their suffixes.

    Raises:
        ValueError: if there are both.
    """
    paths = list(paths)
    files = [file for path in map(Path, paths) for file in (path.rglob("*") if path.is_dir() else [path])]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if videos and images:
        raise ValueError(
            f"There are images, such as {images[0]}, and videos, such as {videos[0]}. Classify them one after the "
            "other."
        )
    return VIDEOS if videos else IMAGES
