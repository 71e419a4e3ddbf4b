"""Labelled images with the features of a frozen image tower, which all checks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.modeling_clip_utils import ClipPromptModel, EnsemblePromptModel
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotConfig, ClipZeroShotForImageClassification
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE
from hf_prompt_models.tasks.image_classification.features import compute_image_features
from hf_prompt_models.training.feature_cache import FeatureCache


@dataclass(frozen=True)
class CheckedImages:
    """Images of one part of the data.

    Attributes:
        part: "train" or "test".
        images: The images, labelled with the model's classes.
        features: Features of shape (images, dim), L2-normalised.
    """

    part: str
    images: LabelledImages
    features: torch.Tensor

    @property
    def labels(self) -> np.ndarray:
        """Class indices of shape (images,)."""
        return np.asarray(self.images.labels)


class FrozenTower:
    """The frozen image tower of a backbone, with a zero-shot classifier of the classes.

    Attributes:
        classifier: The classifier.
        processor: Its processor.

    Args:
        classifier: The classifier.
        processor: Its processor.
        cache: Cache of the features, as from `open_feature_cache`.
        num_workers: Number of processes that load images.
        batch_size: Number of images per batch.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        classifier: ClipZeroShotForImageClassification,
        processor: Any,
        cache: FeatureCache | None,
        num_workers: int = 0,
        batch_size: int = 100,
        progress: bool = True,
    ):
        self.classifier, self.processor = classifier, processor
        self._cache, self._num_workers = cache, num_workers
        self._batch_size, self._progress = batch_size, progress

    def read(self, part: str, images: LabelledImages) -> CheckedImages:
        """Return images with their features, which are cached."""
        features = compute_image_features(
            self.classifier,
            ImageDataset(images, self.processor.image_processor),
            self._batch_size,
            num_workers=self._num_workers,
            progress=self._progress,
            cache=self._cache,
        ).features
        return CheckedImages(part, images, F.normalize(features, dim=-1))

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return the L2-normalised features of images in memory, of shape (images, dim)."""
        inputs = self.processor.image_processor(list(images), return_tensors="pt").to(self.classifier.device)
        return self.classifier.get_image_features(**inputs, pooled_only=True).pooler_output.cpu()

    @torch.no_grad()
    def zero_shot_logits(self, checked: CheckedImages) -> np.ndarray:
        """Return the logits of hand-written prompts, of shape (images, classes)."""
        features = checked.features.to(self.classifier.device)
        return self.classifier(image_embeds=features).logits.cpu().numpy()


def backbone_classifier(model: ClipPromptModel, processor: Any) -> ClipZeroShotForImageClassification:
    """Return a zero-shot classifier of a model's backbone and classes, without what the model learned.

    Args:
        model: The model. Its templates and sentences are used, if it has some, else "a photo of a {}.".
        processor: Its processor.
    """
    config = ClipZeroShotConfig(templates=[DEFAULT_TEMPLATE])
    config.clip_config = model.clip.config  # set late: a new configuration resets its parts' attention
    classifier = ClipZeroShotForImageClassification(config, model.clip).eval()
    templates, sentences = [DEFAULT_TEMPLATE], None
    if isinstance(model, EnsemblePromptModel):
        templates, sentences = model.config.templates, model.config.class_prompts
    classifier.set_classes(model.config.class_names, processor, templates, sentences)
    return classifier
