"""Training and testing video classifiers: several views a clip, a frozen tower's features of frames kept on disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import EvalPrediction, TrainingArguments

from hf_prompt_models.data.images.dataset import FeatureDataset
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.metrics.classification import mean_average_precision, top_k_accuracy
from hf_prompt_models.recipe_utils import VideoClassificationRecipe
from hf_prompt_models.tasks.classification.arguments import RunArguments
from hf_prompt_models.tasks.classification.protocols import TestSet
from hf_prompt_models.tasks.image_classification.features import classification_metrics, compute_features
from hf_prompt_models.training.feature_cache import open_feature_cache


class VideoClassification:
    """What `run_few_shot` needs to know of videos.

    Attributes:
        multi_label: whether a video may have several labels.
        learning_rate_factors: by the beginning of parameters' names, how much faster than the others they learn.

    Args:
        recipe: the method's.
        arguments: the run's.
        tests: by role.
        processor: the backbone's.
        training: of the first seed, for the device and the loading.
    """

    def __init__(
        self,
        recipe: VideoClassificationRecipe[Any],
        arguments: RunArguments,
        tests: dict[str, TestSet],
        processor: Any,
        training: TrainingArguments,
    ):
        self.recipe, self.arguments, self.tests, self.processor = recipe, arguments, tests, processor
        self._training = training
        first = next(iter(tests.values()))
        self.multi_label = first.images.multi_label
        self.learning_rate_factors: dict[str, float] = recipe.learning_rate_factors(arguments.method)
        self.zero_shot = recipe.build_zero_shot(
            arguments.method,
            arguments.few_shot.backbone,
            first.images.class_names,
            processor,
            first.templates,
            self.multi_label,
        ).to(training.device)
        for test in tests.values():
            self.zero_shot.set_classes(test.images.class_names, processor, test.templates)
        self.cache = open_feature_cache(arguments.few_shot.feature_cache, self.zero_shot, processor.image_processor)
        self._datasets = {
            role: recipe.build_test_dataset(arguments.method, test.images, processor) for role, test in tests.items()
        }

    def build_model(self, class_names: Sequence[str]) -> Any:
        """A new model."""
        first = next(iter(self.tests.values()))
        return self.recipe.build_model(
            self.arguments.method,
            self.arguments.few_shot.backbone,
            class_names,
            self.processor,
            first.templates,
            self.multi_label,
        )

    def prepare(self) -> None:
        """Compute the frames' features that hand-written prompts, and models over a frozen tower, are tested on."""
        self._features = {
            role: self._frame_features(self.zero_shot, dataset) for role, dataset in self._datasets.items()
        }

    def eval_dataset(self, model: Any) -> Any:
        """Return what the Trainer's own evaluations see: the first test's videos, or the features of their frames."""
        role = next(iter(self.tests))
        return self._features[role] if self._is_frozen else self._datasets[role]

    def predict_by_hand(self, role: str) -> np.ndarray:
        """(videos, classes) probabilities by hand-written prompts and the mean of the frames."""
        test = self.tests[role]
        self.zero_shot.set_classes(test.images.class_names, self.processor, test.templates)
        return self._probabilities(self.zero_shot, self._features[role])

    def predict(self, model: Any, role: str) -> np.ndarray:
        """(videos, classes) probabilities by a model, whose classes are the test's; the mean over a video's views."""
        return self._probabilities(model, self._features[role] if self._is_frozen else self._datasets[role])

    def compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """For the Trainer's own evaluations (`--eval_strategy epoch`), of one view a video."""
        return self.metrics(prediction.predictions, next(iter(self.tests)))

    def metrics(self, scores: np.ndarray, role: str) -> dict[str, float]:
        """As `video_metrics` gives them."""
        return video_metrics(scores, self._datasets[role].labels.numpy())

    def train_dataset(self, model: Any, sample: LabelledFiles, seed: int) -> Dataset:
        """The recipe's, of its frames' features where the tower is frozen."""
        dataset = self.recipe.build_train_dataset(self.arguments.method, sample, self.processor, seed)
        if self._is_frozen:
            dataset = self._frame_features(model.to(self._training.device), dataset)
        return self.recipe.finish_train_dataset(dataset, seed)

    @property
    def _is_frozen(self) -> bool:
        return has_frozen_frames(self.arguments.method)

    def _frame_features(self, model: Any, dataset: Any) -> FeatureDataset:
        return compute_frame_features(
            model,
            dataset,
            self._training.per_device_eval_batch_size,
            num_workers=self._training.dataloader_num_workers,
            progress=not self._training.disable_tqdm,
            cache=self.cache,
        )

    def _probabilities(self, model: Any, dataset: Any) -> np.ndarray:
        return class_probabilities(
            model,
            dataset,
            self._training.per_device_eval_batch_size,
            self._training.dataloader_num_workers,
            progress=not self._training.disable_tqdm,
        )


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
