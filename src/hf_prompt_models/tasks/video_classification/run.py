"""Training run of video classifiers, with several views per clip and cached frame features of a frozen tower."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import EvalPrediction

from hf_prompt_models.data.images.dataset import FeatureDataset
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.metrics.classification import expected_calibration_error
from hf_prompt_models.recipe_utils import VideoClassificationRecipe
from hf_prompt_models.tasks.classification.run import ClassificationRun
from hf_prompt_models.tasks.video_classification.features import (
    class_probabilities,
    compute_frame_features,
    frame_encoder,
    has_frozen_frames,
    video_metrics,
)
from hf_prompt_models.training.feature_cache import open_feature_cache
from hf_prompt_models.utils.precision import choose_image_dtype, wanted_dtype


class VideoClassificationRun(ClassificationRun[VideoClassificationRecipe[Any]]):
    """Training run of a video classifier."""

    def load_zero_shot(self) -> None:
        """Load the zero-shot classifier, and open the feature cache of its tower."""
        arguments, first = self.arguments, self.first_test
        self.zero_shot: Any = self.recipe.build_zero_shot(
            arguments.method,
            arguments.data.backbone,
            first.images.class_names,
            self.processor,
            first.templates,
            self.multi_label,
        ).to(self.settings.device)
        for test in self.tests.values():
            self.zero_shot.set_classes(test.images.class_names, self.processor, test.templates)
        self._datasets = {
            role: self.recipe.build_test_dataset(arguments.method, test.images, self.processor)
            for role, test in self.tests.items()
        }
        self.zero_shot.image_dtype = choose_image_dtype(
            self.zero_shot,
            wanted_dtype(arguments.data.feature_dtype, self.settings.bf16),
            frame_encoder(self.zero_shot),
            next(iter(self._datasets.values())),
        )
        self.cache = open_feature_cache(arguments.data.feature_cache, self.zero_shot, self.processor.image_processor)

    def compute_test_features(self) -> None:
        """Compute the features of the test sets."""
        self._features = {
            role: self._frame_features(self.zero_shot, dataset) for role, dataset in self._datasets.items()
        }

    def build_model(self, class_names: Sequence[str]) -> Any:
        """Return a new model."""
        model = self.recipe.build_model(
            self.arguments.method,
            self.arguments.data.backbone,
            class_names,
            self.processor,
            self.first_test.templates,
            self.multi_label,
        )
        model.image_dtype = self.zero_shot.image_dtype
        return model

    def score_zero_shot(self, role: str) -> np.ndarray:
        """Return the scores of hand-written prompts on a test set, of shape (examples, classes)."""
        test = self.tests[role]
        self.zero_shot.set_classes(test.images.class_names, self.processor, test.templates)
        return self._probabilities(self.zero_shot, self._features[role])

    def score(self, model: Any, role: str) -> np.ndarray:
        """Return the scores of a model on a test set, of shape (examples, classes)."""
        return self._probabilities(model, self._features[role] if self._is_frozen else self._datasets[role])

    def score_files(self, model: Any, files: LabelledFiles) -> np.ndarray:
        """Return the scores of a model on other files than test files, of shape (examples, classes)."""
        dataset = self.recipe.build_test_dataset(self.arguments.method, files, self.processor)
        return self._probabilities(model, self._frame_features(model, dataset) if self._is_frozen else dataset)

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the logarithms of the class probabilities of scores, of shape (examples, classes)."""
        return np.log(np.maximum(scores, np.finfo(scores.dtype).tiny))

    def metrics(self, scores: np.ndarray, role: str) -> dict[str, float]:
        """Return the metrics of scores, from 0 to 1."""
        labels = self._datasets[role].labels.numpy()
        metrics = video_metrics(scores, labels)
        if not self.multi_label:
            metrics["expected_calibration_error"] = expected_calibration_error(scores, labels)
        return metrics

    def compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return metrics for the Trainer's own evaluations."""
        role = next(iter(self.tests))
        return video_metrics(prediction.predictions, self._datasets[role].labels.numpy())  # with one view of each

    def train_dataset(self, model: Any, sample: LabelledFiles, seed: int) -> Dataset:
        """Return the training data of a seed, or its features if they are the same in every epoch."""
        dataset = self.recipe.build_train_dataset(self.arguments.method, sample, self.processor, seed)
        if self._is_frozen:
            dataset = self._frame_features(model.to(self.settings.device), dataset)
        return self.recipe.finish_train_dataset(dataset, seed)

    def eval_dataset(self, model: Any) -> Any:
        """Return the data of the Trainer's own evaluations: the first test set, or its features."""
        role = next(iter(self.tests))
        return self._features[role] if self._is_frozen else self._datasets[role]

    @property
    def _is_frozen(self) -> bool:
        return has_frozen_frames(self.arguments.method)

    def _frame_features(self, model: Any, dataset: Any) -> FeatureDataset:
        return compute_frame_features(
            model,
            dataset,
            self.settings.per_device_eval_batch_size,
            num_workers=self.settings.dataloader_num_workers,
            progress=not self.settings.disable_tqdm,
            cache=self.cache,
        )

    def _probabilities(self, model: Any, dataset: Any) -> np.ndarray:
        return class_probabilities(
            model,
            dataset,
            self.settings.per_device_eval_batch_size,
            self.settings.dataloader_num_workers,
            progress=not self.settings.disable_tqdm,
        )
