"""Flags that would shorten the training run of an image classifier."""

from dataclasses import fields
from typing import Any

import torch
from torch.utils.data import Dataset

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, FeatureDataset, ViewFeatureDataset
from hf_prompt_models.utils.precision import has_native_bfloat16


SUGGESTED_VIEWS = 8
BFLOAT16 = "--bf16 true computes in bfloat16, for which this processor has instructions."


def ways_to_shorten(model: Any, dataset: Dataset, method: Any, bf16: bool, device: torch.device) -> list[str]:
    """Return sentences about flags that would shorten a run, the largest gain first.

    Args:
        model: The model that is trained.
        dataset: Its training data.
        method: The method's own flags.
        bf16: Whether `--bf16 true` is given.
        device: Device of the run.
    """
    from_features = isinstance(dataset, FeatureDataset | ViewFeatureDataset)
    ways = []
    if not from_features and model.has_fixed_image_features and _has_views(method):
        ways.append(
            f"--augmented_views {SUGGESTED_VIEWS} runs the image encoder once for {SUGGESTED_VIEWS} views of each "
            "image instead of in every step."
        )
    if not bf16 and has_native_bfloat16(device):
        ways.append(BFLOAT16)
    if not model.fits_features:
        ways.append("`hf-prompt train feature_adapter` trains a head on stored features, in seconds.")
    return ways


def ways_to_shorten_features(model: Any, dataset: Dataset) -> list[str]:
    """Return sentences about flags that would shorten the computation of image features.

    Args:
        model: The model with the image tower.
        dataset: The images or views.
    """
    ways = []
    if model.image_dtype is None and has_native_bfloat16(model.device):
        ways.append(BFLOAT16)
    if isinstance(dataset, AugmentedViewDataset) and dataset.num_views > 1:
        ways.append(f"--augmented_views with fewer than {dataset.num_views} views of each image.")
    return ways


def _has_views(method: Any) -> bool:
    return any(field.name == "augmented_views" for field in fields(method))
