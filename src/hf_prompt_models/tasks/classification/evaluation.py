"""Testing saved models on labelled images or videos."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoProcessor

from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.readable import without_unreadable
from hf_prompt_models.data.videos.dataset import VideoDataset, VideoViewsDataset
from hf_prompt_models.data.videos.labelled import LabelledVideos
from hf_prompt_models.tasks.classification.prediction import IMAGES, VIDEOS, Kind
from hf_prompt_models.tasks.image_classification.features import (
    class_logits,
    classification_metrics,
    compute_image_features,
    image_logits,
)
from hf_prompt_models.tasks.video_classification.training import (
    class_probabilities,
    compute_frame_features,
    has_frozen_frames,
    video_metrics,
)
from hf_prompt_models.training.feature_cache import open_feature_cache


@dataclass(frozen=True)
class ModelsToTest:
    """The models of a run.

    Attributes:
        directories: of the models, by seed.
        set_classes: whether to classify into the test set's classes instead of those that the prompt was learned for.
        backbone: where the backbone is now, if it moved since training.
        feature_cache: where a frozen tower's features are kept, as for `open_feature_cache`.
    """

    directories: Mapping[str, Path]
    set_classes: bool = False
    backbone: str | None = None
    feature_cache: str | None = None

    def load(self, kind: Kind, test: LabelledFiles) -> Iterator[tuple[str, Any, Any, Any]]:
        """Each seed, its model, its processor, and the test set labelled by the model's classes."""
        for seed, directory in self.directories.items():
            model = kind.load_model(directory, self.backbone)
            processor = AutoProcessor.from_pretrained(directory)
            if self.set_classes:
                model.set_classes(test.class_names, tokenizer=processor)
            yield seed, model, processor, test.with_classes(model.config.class_names)


@dataclass(frozen=True)
class Tested:
    """What one model was found to do.

    Attributes:
        files: what it was tested on, labelled by its classes.
        scores: (files, classes).
        metrics: from 0 to 1, by name.
    """

    files: LabelledFiles
    scores: np.ndarray
    metrics: dict[str, float]


def evaluate_images(
    models: ModelsToTest,
    test: LabelledImages,
    batch_size: int,
    num_workers: int = 0,
    on_unreadable: str = "refuse",
) -> dict[str, Tested]:
    """Test image classifiers: `accuracy` and `mean_class_accuracy`, by seed.

    Args:
        models: over one frozen image tower.
        test: the images.
        batch_size, num_workers: of the loading.
        on_unreadable: "skip" leaves out images that turn out to be unreadable.
    """

    def run(test: LabelledImages) -> dict[str, Tested]:
        tested, features = {}, None
        for seed, model, processor, images in models.load(IMAGES, test):
            dataset = ImageDataset(images, processor.image_processor)
            if not model.has_fixed_image_features:
                logits = image_logits(model, dataset, batch_size, num_workers, progress=False)
                tested[seed] = Tested(images, logits, classification_metrics(logits.argmax(axis=-1), images.labels))
                continue
            if features is None:  # the seeds share one frozen backbone
                kept = open_feature_cache(models.feature_cache, model, processor.image_processor)
                features = compute_image_features(model, dataset, batch_size, num_workers=num_workers, cache=kept)
            logits = class_logits(model, features)
            tested[seed] = Tested(images, logits, classification_metrics(logits.argmax(axis=-1), images.labels))
        return tested

    return without_unreadable(test, run, lambda images, index: images.load(index), on_unreadable, "images")


def evaluate_videos(
    models: ModelsToTest,
    test: LabelledVideos,
    batch_size: int,
    num_workers: int = 0,
    temporal_views: int = 1,
    spatial_views: int = 1,
    on_unreadable: str = "refuse",
) -> dict[str, Tested]:
    """Test video classifiers: what `video_metrics` gives, by seed.

    Args:
        models: the models.
        test: the videos.
        batch_size, num_workers: of the loading.
        temporal_views, spatial_views: whose probabilities are averaged, as for `VideoViewsDataset`.
        on_unreadable: "skip" leaves out videos that turn out to be unreadable.
    """

    def views(videos: LabelledVideos, model: Any, processor: Any) -> Any:
        num_frames = model.config.num_frames
        if (temporal_views, spatial_views) == (1, 1):
            return VideoDataset(videos, processor.image_processor, num_frames)
        return VideoViewsDataset(videos, processor.image_processor, num_frames, temporal_views, spatial_views)

    def run(test: LabelledVideos) -> dict[str, Tested]:
        tested, features = {}, None
        for seed, model, processor, videos in models.load(VIDEOS, test):
            dataset = views(videos, model, processor)
            labels = dataset.labels.numpy()
            if has_frozen_frames(model.config):  # the seeds share them
                if features is None:
                    kept = open_feature_cache(models.feature_cache, model, processor.image_processor)
                    features = compute_frame_features(model, dataset, batch_size, num_workers=num_workers, cache=kept)
                dataset = features
            scores = class_probabilities(model, dataset, batch_size, num_workers)
            tested[seed] = Tested(videos, scores, video_metrics(scores, labels))
        return tested

    def decode(videos: LabelledVideos, index: int) -> Any:
        return views(videos, *read_by())[index]

    @cache
    def read_by() -> tuple[Any, Any]:
        _, model, processor, _ = next(models.load(VIDEOS, test))
        return model, processor

    return without_unreadable(test, run, decode, on_unreadable, "videos")
