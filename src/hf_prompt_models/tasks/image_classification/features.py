"""Image features of a frozen tower, and logits of image classes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, FeatureDataset, ImageDataset, ViewFeatureDataset
from hf_prompt_models.data.images.normalization import normalized_on_device
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.tasks.image_classification.advice import ways_to_shorten_features
from hf_prompt_models.training.feature_cache import compute_features
from hf_prompt_models.utils.loading import load_batches


def compute_image_features(
    model: ClipPromptModel, dataset: ImageDataset | AugmentedViewDataset, batch_size: int = 100, **settings: Any
) -> FeatureDataset:
    """Compute the features of a dataset once with the frozen image tower, for all models that read them.

    The features are not normalised.

    Args:
        model: Model with the image tower.
        dataset: Dataset with one image per item.
        batch_size: As for `compute_features`.
        **settings: As for `compute_features`.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpForImageClassification
        >>> from hf_prompt_models.data import ImageDataset, read_labelled_images
        >>> from hf_prompt_models.playground import write_image_folder
        >>> from hf_prompt_models.tasks import compute_image_features
        >>> write_image_folder("shapes", seed=0, train_per_class=1, test_per_class=1)
        >>> images = read_labelled_images("shapes:train")
        >>> model = CoOpForImageClassification.from_backbone("playground", images.class_names)
        >>> dataset = ImageDataset(images, model.processor.image_processor)
        >>> compute_image_features(model, dataset, progress=False).image_embeds.shape
        torch.Size([12, 64])

        ```
    """
    advice = ways_to_shorten_features(model, dataset)
    dataset, prepare = normalized_on_device(dataset, model.device)
    encode = image_encoder(model)

    def prepared(**inputs: torch.Tensor) -> torch.Tensor:
        return encode(**prepare(inputs))

    settings |= {"device": model.device, "advice": advice}
    return compute_features(prepared, dataset, "image_embeds", batch_size, **settings)


def image_encoder(model: ClipPromptModel) -> Callable[..., torch.Tensor]:
    """Return the function from a batch of image inputs to their features, (batch, dim), not normalised."""

    def encode(**inputs: Any) -> torch.Tensor:
        return model.encode_images(**{name: each.to(model.device) for name, each in inputs.items()}).pooler_output

    return encode


def compute_view_features(
    model: ClipPromptModel, dataset: AugmentedViewDataset, **settings: Any
) -> ViewFeatureDataset:
    """Compute the features of random crops once, to train on one crop of each image per epoch without the image tower.

    Args:
        model: Model with the image tower.
        dataset: Dataset with several crops of each image.
        **settings: As for `compute_image_features`.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpForImageClassification
        >>> from hf_prompt_models.data import AugmentedViewDataset, read_labelled_images
        >>> from hf_prompt_models.playground import write_image_folder
        >>> from hf_prompt_models.tasks import compute_view_features
        >>> write_image_folder("shapes", seed=0, train_per_class=1, test_per_class=1)
        >>> images = read_labelled_images("shapes:train")
        >>> model = CoOpForImageClassification.from_backbone("playground", images.class_names)
        >>> dataset = AugmentedViewDataset(3, images, model.processor.image_processor)
        >>> compute_view_features(model, dataset, progress=False).view_embeds.shape
        torch.Size([12, 3, 64])

        ```
    """
    features = compute_image_features(model, dataset, **settings).features
    views = features.unflatten(0, (-1, dataset.num_views))
    return ViewFeatureDataset(views, torch.tensor(dataset.images.labels), dataset.seed)


@torch.no_grad()
def class_logits(model: ClipPromptModel, dataset: FeatureDataset, batch_size: int = 1000) -> np.ndarray:
    """Return logits of shape (images, classes) from features."""
    logits = [model(image_embeds=features.to(model.device)).logits for features in dataset.features.split(batch_size)]
    return torch.cat(logits).cpu().numpy()


@torch.no_grad()
def image_logits(
    model: ClipPromptModel, dataset: Any, batch_size: int, num_workers: int = 0, progress: bool = True
) -> np.ndarray:
    """Return logits of shape (images, classes) of a model whose image tower was trained with the prompt.

    Args:
        model: The classifier.
        dataset: Dataset of the image inputs and labels.
        batch_size: Number of images per batch.
        num_workers: Number of processes that load images.
        progress: Whether to show a progress bar.
    """
    dataset, prepare = normalized_on_device(dataset, model.device)
    batches = load_batches(dataset, batch_size, model.device, num_workers)
    count = math.ceil(len(dataset) / batch_size)
    logits = []
    for batch in tqdm(batches, desc="Testing", total=count, leave=False, disable=not progress):
        batch.pop("labels")
        logits.append(model(**prepare(batch)).logits.cpu())
    return torch.cat(logits).numpy()


def predict(model: ClipPromptModel, dataset: FeatureDataset) -> np.ndarray:
    """Return predicted class indices of shape (images,) from features."""
    return class_logits(model, dataset).argmax(axis=-1)
