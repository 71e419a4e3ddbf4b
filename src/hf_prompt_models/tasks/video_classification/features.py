"""Features of frames from a frozen tower, and probabilities of video classes."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from hf_prompt_models.data.images.dataset import FeatureDataset
from hf_prompt_models.metrics.classification import mean_average_precision, top_k_accuracy
from hf_prompt_models.tasks.classification.scores import classification_metrics
from hf_prompt_models.training.feature_cache import compute_features


def has_frozen_frames(settings: Any) -> bool:
    """Whether all models of these settings, a configuration or a recipe's arguments, have one frozen tower in common,
    which sees each frame for itself."""
    return settings.trainable == "head" and settings.pre_network is None and settings.in_network is None


def compute_frame_features(model: Any, dataset: Any, batch_size: int, **settings: Any) -> FeatureDataset:
    """Run the frozen image tower over the frames of videos once.

    Args:
        model: whose image tower; it must see each frame for itself.
        dataset: of one or several views a video.
        batch_size, settings: as for `compute_features`.
    """

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        pixels = pixel_values.to(model.device, model.clip.dtype)
        if pixels.dim() == 5:
            return model.get_frame_features(pixels).pooler_output
        return model.get_frame_features(pixels.flatten(0, 1)).pooler_output.unflatten(0, pixels.shape[:2])

    return compute_features(encode, dataset, "frame_embeds", batch_size, **settings)


@torch.no_grad()
def class_probabilities(
    model: Any, dataset: Any, batch_size: int, num_workers: int = 0, progress: bool = True
) -> np.ndarray:
    """(videos, classes) probabilities, the mean over a video's views; of several labels each class's own.

    Args:
        model: the classifier, which is put in eval mode.
        dataset: of one or several views a video, as pixels or as features of frames.
        batch_size, num_workers: of the loading.
        progress: whether to show a progress bar.
    """
    model.eval()
    from_features = isinstance(dataset, FeatureDataset)
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=0 if from_features else num_workers)
    probabilities = []
    for batch in tqdm(loader, desc="Testing", leave=False, disable=not progress):
        (name, inputs), *_ = ((name, value) for name, value in batch.items() if name != "labels")
        inputs = inputs.to(model.device) if from_features else inputs.to(model.device, model.clip.dtype)
        has_views = inputs.dim() == (4 if from_features else 6)
        logits = model(**{name: inputs.flatten(0, 1) if has_views else inputs}).logits
        several = model.config.problem_type == "multi_label_classification"
        each = logits.sigmoid() if several else logits.softmax(dim=-1)
        probabilities.append(each.unflatten(0, (len(inputs), -1)).mean(dim=1).cpu())
    return torch.cat(probabilities).numpy()


def video_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """From 0 to 1: `accuracy`, `top5_accuracy` and `mean_class_accuracy`; `mean_average_precision` of several labels.

    What counts as the accuracy of videos with several labels is the mean average precision.

    Args:
        scores: (videos, classes).
        labels: (videos,) class indices, or (videos, classes) 1 for each class that applies.
    """
    if labels.ndim == 2:
        precision = mean_average_precision(scores, labels)
        return {"accuracy": precision, "mean_average_precision": precision}
    return classification_metrics(scores.argmax(axis=-1), labels) | {
        "top5_accuracy": top_k_accuracy(scores, labels, 5)
    }
