"""Features of images from a frozen tower, and logits of image classes."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, FeatureDataset, ImageDataset, ViewFeatureDataset
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.training.feature_cache import compute_features


def compute_image_features(
    model: ClipPromptModel, dataset: ImageDataset | AugmentedViewDataset, batch_size: int = 100, **settings: Any
) -> FeatureDataset:
    """Run the frozen image tower over a data set once, for all the prompts that will be compared with it.

    Args:
        model: whose image tower.
        dataset: of one picture an item.
        batch_size, settings: as for `compute_features`.
    """

    def encode(**inputs: torch.Tensor) -> torch.Tensor:
        return model.get_image_features(**{name: each.to(model.device) for name, each in inputs.items()}).pooler_output

    return compute_features(encode, dataset, "image_embeds", batch_size, **settings)


def compute_view_features(
    model: ClipPromptModel, dataset: AugmentedViewDataset, **settings: Any
) -> ViewFeatureDataset:
    """Run the frozen image tower over random crops once, to train on one of an image's crops in each epoch without it.

    Args:
        model: whose image tower.
        dataset: some crops of each image.
        settings: as for `compute_image_features`.
    """
    features = compute_image_features(model, dataset, **settings).features
    views = features.unflatten(0, (-1, dataset.num_views))
    return ViewFeatureDataset(views, torch.tensor(dataset.images.labels), dataset.seed)


@torch.no_grad()
def class_logits(model: ClipPromptModel, dataset: FeatureDataset, batch_size: int = 1000) -> np.ndarray:
    """(images, classes) logits, from features computed before."""
    logits = [model(image_embeds=features.to(model.device)).logits for features in dataset.features.split(batch_size)]
    return torch.cat(logits).cpu().numpy()


@torch.no_grad()
def image_logits(
    model: ClipPromptModel, dataset: Dataset, batch_size: int, num_workers: int = 0, progress: bool = True
) -> np.ndarray:
    """(images, classes) logits of a model whose image tower was trained with the prompt.

    Args:
        model: the classifier.
        dataset: of the images' inputs, and labels.
        batch_size, num_workers: of the loading.
        progress: whether to show a progress bar.
    """
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers)
    logits = []
    for batch in tqdm(loader, desc="Testing", leave=False, disable=not progress):
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
        logits.append(model(**inputs).logits.cpu())
    return torch.cat(logits).numpy()


def predict(model: ClipPromptModel, dataset: FeatureDataset) -> np.ndarray:
    """(images,) predicted class indices, from features computed before."""
    return class_logits(model, dataset).argmax(axis=-1)
