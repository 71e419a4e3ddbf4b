"""Frame features of a frozen tower, and probabilities of video classes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_prompt_models.data.images.dataset import FeatureDataset
from hf_prompt_models.data.images.normalization import Prepare, normalized_on_device
from hf_prompt_models.metrics.classification import mean_average_precision, top_k_accuracy
from hf_prompt_models.tasks.classification.scores import classification_metrics
from hf_prompt_models.training.feature_cache import compute_features
from hf_prompt_models.utils.loading import load_batches


def has_frozen_frames(settings: Any) -> bool:
    """Return whether all models with these settings share one frozen tower that encodes each frame separately.

    Args:
        settings: A configuration, or the arguments of a recipe.
    """
    return settings.trainable == "head" and settings.pre_network is None and settings.in_network is None


def compute_frame_features(model: Any, dataset: Any, batch_size: int, **settings: Any) -> FeatureDataset:
    """Compute the features of video frames once with the frozen image tower.

    Args:
        model: Model with the image tower, which must encode each frame separately.
        dataset: Dataset with one or several views per video.
        batch_size: As for `compute_features`.
        **settings: As for `compute_features`.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models import ActionClipForVideoClassification
        >>> from hf_prompt_models.data import VideoDataset, read_labelled_videos, write_video
        >>> from hf_prompt_models.tasks import compute_frame_features
        >>> for name in ("falling", "rising"):
        ...     write_video(f"clips/{name}/0.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> videos = read_labelled_videos("clips", "train")
        >>> model = ActionClipForVideoClassification.from_backbone("playground", videos.class_names, trainable="head")
        >>> dataset = VideoDataset(videos, model.processor.image_processor, num_frames=4)
        >>> compute_frame_features(model, dataset, batch_size=2, progress=False)[0]["frame_embeds"].shape
        torch.Size([4, 64])

        ```
    """
    dataset, prepare = normalized_on_device(dataset, model.device)
    encode = frame_encoder(model)

    def prepared(**inputs: torch.Tensor) -> torch.Tensor:
        return encode(**prepare(inputs))

    return compute_features(prepared, dataset, "frame_embeds", batch_size, device=model.device, **settings)


def frame_encoder(model: Any) -> Callable[..., torch.Tensor]:
    """Return the function from a batch of videos or views to the features of their frames, (..., frames, dim)."""

    def encode(pixel_values: torch.Tensor) -> torch.Tensor:
        pixels = pixel_values.to(model.device, model.clip.dtype)
        videos = pixels if pixels.dim() == 5 else pixels.flatten(0, 1)  # of all views
        embeds = model.get_frame_features(videos, pooled_only=True).pooler_output
        return embeds.unflatten(0, pixels.shape[:-4])

    return encode


@torch.no_grad()
def class_probabilities(
    model: Any, dataset: Any, batch_size: int, num_workers: int = 0, progress: bool = True
) -> np.ndarray:
    """Return probabilities of shape (videos, classes), averaged over a video's views.

    With several labels, each class has its own probability.

    Args:
        model: The classifier, which is set to eval mode.
        dataset: Dataset with one or several views per video, as pixels or as frame features.
        batch_size: Number of videos per batch.
        num_workers: Number of processes that load videos.
        progress: Whether to show a progress bar.
    """
    model.eval()
    from_features = isinstance(dataset, FeatureDataset)
    prepare: Prepare = dict
    if not from_features:
        dataset, prepare = normalized_on_device(dataset, model.device)
    batches = load_batches(dataset, batch_size, model.device, 0 if from_features else num_workers)
    count = math.ceil(len(dataset) / batch_size)
    probabilities = []
    for batch in tqdm(batches, desc="Testing", total=count, leave=False, disable=not progress):
        (name, inputs), *_ = ((name, value) for name, value in prepare(batch).items() if name != "labels")
        inputs = inputs if from_features else inputs.to(model.clip.dtype)
        has_views = inputs.dim() == (4 if from_features else 6)
        logits = model(**{name: inputs.flatten(0, 1) if has_views else inputs}).logits
        several = model.config.problem_type == "multi_label_classification"
        each = logits.sigmoid() if several else logits.softmax(dim=-1)
        probabilities.append(each.unflatten(0, (len(inputs), -1)).mean(dim=1).cpu())
    return torch.cat(probabilities).numpy()


def video_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return `accuracy`, `top5_accuracy` and `mean_class_accuracy`, from 0 to 1.

    With several labels, return `mean_average_precision` instead, which is also the `accuracy`.

    Args:
        scores: Scores of shape (videos, classes).
        labels: Class indices of shape (videos,), or of shape (videos, classes), 1 for each class that applies.
    """
    if labels.ndim == 2:
        precision = mean_average_precision(scores, labels)
        return {"accuracy": precision, "mean_average_precision": precision}
    return classification_metrics(scores.argmax(axis=-1), labels) | {
        "top5_accuracy": top_k_accuracy(scores, labels, 5)
    }
