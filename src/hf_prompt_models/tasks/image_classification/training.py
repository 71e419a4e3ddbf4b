"""Training and testing image classifiers over a frozen image tower: what it says of a picture is computed once."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import Dataset
from transformers import TrainingArguments

from hf_prompt_models.data.images.dataset import AugmentedImageDataset, AugmentedViewDataset
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.recipe_utils import ImageClassificationRecipe
from hf_prompt_models.tasks.classification.arguments import RunArguments
from hf_prompt_models.tasks.classification.protocols import TestSet
from hf_prompt_models.tasks.image_classification.features import (
    class_logits,
    classification_metrics,
    compute_image_features,
    compute_metrics,
    compute_view_features,
    image_logits,
)
from hf_prompt_models.training.feature_cache import open_feature_cache


class ImageClassification:
    """What `run_few_shot` needs to know of pictures.

    Attributes:
        multi_label: whether a picture may have several labels.
        learning_rate_factors: by the beginning of parameters' names, how much faster than the others they learn.

    Args:
        recipe: the method's.
        arguments: the run's.
        tests: by role.
        processor: the backbone's.
        training: of the first seed, for the device and the loading.
    """

    multi_label = False
    learning_rate_factors: ClassVar[dict[str, float]] = {}
    compute_metrics = staticmethod(compute_metrics)

    def __init__(
        self,
        recipe: ImageClassificationRecipe[Any],
        arguments: RunArguments,
        tests: dict[str, TestSet],
        processor: Any,
        training: TrainingArguments,
    ):
        self.recipe, self.arguments, self.tests, self.processor = recipe, arguments, tests, processor
        first = next(iter(tests.values()))
        self.zero_shot = ClipZeroShotForImageClassification.from_backbone(
            arguments.few_shot.backbone, first.images.class_names, first.templates, tokenizer=processor
        ).to(training.device)
        for test in tests.values():
            self.zero_shot.set_classes(test.images.class_names, processor, test.templates)
        self.cache = open_feature_cache(arguments.few_shot.feature_cache, self.zero_shot, processor.image_processor)
        self._training = training

    def prepare(self) -> None:
        """Compute the features of the test pictures."""
        self.features = {role: self._features(self.zero_shot, self._images(role)) for role in self.tests}

    def build_model(self, class_names: Sequence[str]) -> Any:
        """A new model."""
        few_shot = self.arguments.few_shot
        return self.recipe.build_model(self.arguments.method, few_shot.backbone, class_names, self.processor)

    def predict_by_hand(self, role: str) -> np.ndarray:
        """(images, classes) logits of the hand-written prompts."""
        test = self.tests[role]
        self.zero_shot.set_classes(test.images.class_names, self.processor, test.templates)
        return class_logits(self.zero_shot, self.features[role])

    def eval_dataset(self, model: Any) -> Any:
        """Return what the Trainer's own evaluations see: the first test's features where training leaves them."""
        role = next(iter(self.tests))
        return self.features[role] if model.has_fixed_image_features else self._images(role)

    def predict(self, model: Any, role: str) -> np.ndarray:
        """(images, classes) logits of a model, whose classes are the test's."""
        if model.has_fixed_image_features:
            return class_logits(model, self.features[role])
        settings = self._training
        return image_logits(
            model,
            self._images(role),
            settings.per_device_eval_batch_size,
            settings.dataloader_num_workers,
            not settings.disable_tqdm,
        )

    def _images(self, role: str) -> Any:
        return self.recipe.build_test_dataset(self.tests[role].images, self.processor)

    def metrics(self, scores: np.ndarray, role: str) -> dict[str, float]:
        """`accuracy` and `mean_class_accuracy`, from 0 to 1."""
        return classification_metrics(scores.argmax(axis=-1), self.tests[role].images.labels)

    def train_dataset(self, model: Any, sample: LabelledFiles, seed: int) -> Dataset:
        """The recipe's, or its features where they are the same in every epoch."""
        dataset = self.recipe.build_train_dataset(self.arguments.method, sample, self.processor, seed)
        if isinstance(dataset, AugmentedImageDataset) and not isinstance(dataset, AugmentedViewDataset):
            return dataset
        return self._features(model.to(self._training.device), dataset)

    def _features(self, model: Any, dataset: Any) -> Any:
        compute = compute_view_features if isinstance(dataset, AugmentedViewDataset) else compute_image_features
        return compute(
            model,
            dataset,
            num_workers=self._training.dataloader_num_workers,
            progress=not self._training.disable_tqdm,
            cache=self.cache,
        )
