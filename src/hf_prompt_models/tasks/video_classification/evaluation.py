"""Test saved video classifiers."""

from functools import cache
from typing import Any

from transformers import AutoModelForVideoClassification

from hf_prompt_models.data.readable import without_unreadable
from hf_prompt_models.data.videos.dataset import VideoDataset, VideoViewsDataset
from hf_prompt_models.data.videos.labelled import LabelledVideos
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest, Tested
from hf_prompt_models.tasks.video_classification.features import (
    class_probabilities,
    compute_frame_features,
    frame_encoder,
    has_frozen_frames,
    video_metrics,
)
from hf_prompt_models.training.feature_cache import open_feature_cache
from hf_prompt_models.utils.precision import choose_image_dtype


def evaluate_videos(
    models: ModelsToTest,
    test: LabelledVideos,
    batch_size: int,
    num_workers: int = 0,
    temporal_views: int = 1,
    spatial_views: int = 1,
    on_unreadable: str = "refuse",
) -> dict[str, Tested]:
    """Test video classifiers, and return scores and the metrics of `video_metrics`, by seed.

    Args:
        models: The models.
        test: The videos.
        batch_size: Number of videos per batch.
        num_workers: Number of processes that load videos.
        temporal_views: Number of frame samples to average over, as for `VideoViewsDataset`.
        spatial_views: Number of crops to average over, as for `VideoViewsDataset`.
        on_unreadable: "skip" leaves out videos that cannot be read.
    """

    def views(videos: LabelledVideos, model: Any, processor: Any) -> Any:
        num_frames = model.config.num_frames
        if (temporal_views, spatial_views) == (1, 1):
            return VideoDataset(videos, processor.image_processor, num_frames)
        return VideoViewsDataset(videos, processor.image_processor, num_frames, temporal_views, spatial_views)

    def run(test: LabelledVideos) -> dict[str, Tested]:
        tested: dict[str, Tested] = {}
        features, dtype = None, None
        for seed, model, processor, videos in models.load(AutoModelForVideoClassification, test):
            dataset = views(videos, model, processor)
            labels = dataset.labels.numpy()
            if not tested:  # the choice for the first seed applies to all
                dtype = choose_image_dtype(model, models.feature_dtype, frame_encoder(model), dataset)
            model.image_dtype = dtype
            if has_frozen_frames(model.config):  # all seeds share the features
                if features is None:
                    kept = open_feature_cache(models.feature_cache, model, processor.image_processor)
                    features = compute_frame_features(model, dataset, batch_size, num_workers=num_workers, cache=kept)
                dataset = features
            scores = class_probabilities(model, dataset, batch_size, num_workers)
            tested[seed] = Tested(videos, scores, video_metrics(scores, labels), scores)
        return tested

    def decode(videos: LabelledVideos, index: int) -> Any:
        return views(videos, *read_by())[index]

    @cache
    def read_by() -> tuple[Any, Any]:
        _, model, processor, _ = next(models.load(AutoModelForVideoClassification, test))
        return model, processor

    return without_unreadable(test, run, decode, on_unreadable, "videos")
