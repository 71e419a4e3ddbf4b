"""Test saved image classifiers."""

import numpy as np
from transformers import AutoModelForImageClassification

from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.data.readable import without_unreadable
from hf_prompt_models.tasks.classification.calibration.temperature import log_softmax
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest, Tested
from hf_prompt_models.tasks.classification.scores import classification_metrics
from hf_prompt_models.tasks.image_classification.features import (
    class_logits,
    compute_image_features,
    image_encoder,
    image_logits,
)
from hf_prompt_models.training.feature_cache import open_feature_cache
from hf_prompt_models.utils.precision import choose_image_dtype


def evaluate_images(
    models: ModelsToTest,
    test: LabelledImages,
    batch_size: int,
    num_workers: int = 0,
    on_unreadable: str = "refuse",
    reduced_jpeg: bool = False,
) -> dict[str, Tested]:
    """Test image classifiers, and return scores, `accuracy` and `mean_class_accuracy`, by seed.

    Args:
        models: Models with the same frozen image tower.
        test: The images.
        batch_size: Number of images per batch.
        num_workers: Number of processes that load images.
        on_unreadable: "skip" leaves out images that cannot be read.
        reduced_jpeg: As for `ImageDataset`.
    """

    def run(test: LabelledImages) -> dict[str, Tested]:
        tested: dict[str, Tested] = {}
        features, dtype = None, None
        for seed, model, processor, images in models.load(AutoModelForImageClassification, test):
            dataset = ImageDataset(images, processor.image_processor, reduced_jpeg)
            if not tested:  # the choice for the first seed applies to all
                dtype = choose_image_dtype(model, models.feature_dtype, image_encoder(model), dataset)
            model.image_dtype = dtype
            if not model.has_fixed_image_features:
                tested[seed] = _tested(images, image_logits(model, dataset, batch_size, num_workers, progress=False))
                continue
            if features is None:  # all seeds share one frozen backbone
                kept = open_feature_cache(models.feature_cache, model, processor.image_processor)
                features = compute_image_features(model, dataset, batch_size, num_workers=num_workers, cache=kept)
            tested[seed] = _tested(images, class_logits(model, features))
        return tested

    return without_unreadable(test, run, lambda images, index: images.load(index), on_unreadable, "images")


def _tested(images: LabelledImages, logits: np.ndarray) -> Tested:
    metrics = classification_metrics(logits.argmax(axis=-1), images.labels)
    return Tested(images, logits, metrics, np.exp(log_softmax(logits)))
