"""Training run of image classifiers, which computes the features of a frozen image tower once."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import EvalPrediction

from hf_prompt_models.data.images.dataset import (
    AugmentedImageDataset,
    AugmentedViewDataset,
    ImageDataset,
    resized_side,
)
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.metrics.classification import expected_calibration_error
from hf_prompt_models.modeling_clip_utils import EnsemblePromptModel
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.recipe_utils import ImageClassificationRecipe
from hf_prompt_models.tasks.classification.calibration.temperature import log_softmax
from hf_prompt_models.tasks.classification.class_prompts import with_class_prompts
from hf_prompt_models.tasks.classification.protocols import ProtocolData, TestSet
from hf_prompt_models.tasks.classification.run import ClassificationRun
from hf_prompt_models.tasks.classification.scores import classification_metrics
from hf_prompt_models.tasks.image_classification.advice import ways_to_shorten
from hf_prompt_models.tasks.image_classification.data_check.duplicates import groups_of_copies
from hf_prompt_models.tasks.image_classification.data_check.images import FrozenTower
from hf_prompt_models.tasks.image_classification.features import (
    class_logits,
    compute_image_features,
    compute_view_features,
    image_encoder,
    image_logits,
)
from hf_prompt_models.training.feature_cache import FeatureCache, open_feature_cache
from hf_prompt_models.training.feature_trainer import FeatureTrainer
from hf_prompt_models.training.run_folder import digest_of
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.precision import choose_image_dtype, wanted_dtype


class ImageClassificationRun(ClassificationRun[ImageClassificationRecipe[Any]]):
    """Training run of an image classifier."""

    def read_data(self) -> ProtocolData:
        """Return the data of the protocol, with the sentences of `--class_prompts`."""
        data, few_shot = super().read_data(), self.arguments.data
        if few_shot.class_prompts is None:
            return data
        return with_class_prompts(data, few_shot.class_prompts, few_shot.templates is not None, few_shot.backbone)

    def load_zero_shot(self) -> None:
        """Load the zero-shot classifier, and open the feature cache of its tower."""
        first, few_shot = self.first_test, self.arguments.data

        def load() -> tuple[ClipZeroShotForImageClassification, FeatureCache | None]:
            self.zero_shot = ClipZeroShotForImageClassification.from_backbone(
                few_shot.backbone, first.images.class_names, first.templates, self.processor, first.class_prompts
            ).to(self.settings.device)
            self._zero_shot_test = first
            self.zero_shot.image_dtype = choose_image_dtype(
                self.zero_shot,
                wanted_dtype(few_shot.feature_dtype, self.settings.bf16),
                image_encoder(self.zero_shot),
                self.test_images(next(iter(self.tests))),
            )
            for test in self.tests.values():
                self._ask_zero_shot(test)
            cache = open_feature_cache(few_shot.feature_cache, self.zero_shot, self.processor.image_processor)
            return self.zero_shot, cache

        self.zero_shot, self.cache = self.shared.once("zero-shot", load)

    def compute_test_features(self) -> None:
        """Compute the features of the test sets."""
        for role in self.tests:
            self.features_for(self.zero_shot, role)

    def build_model(self, class_names: Sequence[str]) -> Any:
        """Return a new model."""
        arguments, first = self.arguments, self.first_test
        model = self.recipe.build_model(
            arguments.method,
            arguments.data.backbone,
            class_names,
            self.processor,
            first.templates,
            first.class_prompts,
        )
        model.image_dtype = self.zero_shot.image_dtype
        return model

    def score_zero_shot(self, role: str) -> np.ndarray:
        """Return the scores of hand-written prompts on a test set, of shape (examples, classes)."""
        self._ask_zero_shot(self.tests[role])
        return class_logits(self.zero_shot, self.features_for(self.zero_shot, role))

    def score(self, model: Any, role: str) -> np.ndarray:
        """Return the scores of a model on a test set, of shape (examples, classes)."""
        if model.has_fixed_image_features:
            return class_logits(model, self.features_for(model, role))
        return self._pixel_logits(model, self.test_images(role))

    def score_files(self, model: Any, files: LabelledFiles) -> np.ndarray:
        """Return the scores of a model on other files than test files, of shape (examples, classes)."""
        dataset = self._reduced(self.recipe.build_test_dataset(files, self.processor))
        if model.has_fixed_image_features:
            return class_logits(model, self.stored_features(model, dataset))
        return self._pixel_logits(model, dataset)

    def similar_files(self, files: LabelledFiles) -> list[Hashable]:
        """Return a value for each image that is equal for images of one class that are as similar as copies."""
        tower = FrozenTower(
            self.zero_shot, self.processor, self.cache, self.settings.dataloader_num_workers, progress=False
        )
        assert isinstance(files, LabelledImages)
        return groups_of_copies(tower, tower.read("train", files)).tolist()

    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the logarithms of the class probabilities of scores, of shape (examples, classes)."""
        return log_softmax(scores)

    def _pixel_logits(self, model: Any, dataset: Dataset) -> np.ndarray:
        settings = self.settings
        return image_logits(
            model,
            dataset,
            settings.per_device_eval_batch_size,
            settings.dataloader_num_workers,
            not settings.disable_tqdm,
        )

    def features_for(self, model: Any, role: str) -> Any:
        """Return the features of a test set that a model with a frozen image tower reads."""
        return self.shared.once(
            ("test features", model.image_feature, role), lambda: self.stored_features(model, self.test_images(role))
        )

    def trainer_class(self, model: Any) -> type[PromptTrainer]:
        """Return the class of the trainer of a model, which depends on how it is trained."""
        return FeatureTrainer if model.fits_features else PromptTrainer

    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test and save the model as for every classifier, and report the settings that were searched."""
        results = super().finish(trainer, directory)
        return results | {"settings": trainer.settings} if isinstance(trainer, FeatureTrainer) else results

    def metrics(self, scores: np.ndarray, role: str) -> dict[str, float]:
        """Return the metrics of scores, from 0 to 1."""
        labels = self.tests[role].images.labels
        error = expected_calibration_error(np.exp(self.log_probabilities(scores)), labels)
        return classification_metrics(scores.argmax(axis=-1), labels) | {"expected_calibration_error": error}

    def compute_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return metrics for the Trainer's own evaluations."""
        return classification_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)

    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed."""
        return super().results() | {"reduced_jpeg": self.arguments.data.reduced_jpeg}

    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run."""
        return super().record(seed) | {"reduced_jpeg": self.arguments.data.reduced_jpeg}

    def ways_to_shorten(self, model: Any, dataset: Dataset) -> list[str]:
        """Return sentences about flags that would shorten the run."""
        settings = self.settings
        return ways_to_shorten(model, dataset, self.arguments.method, settings.bf16, settings.device)

    def train_dataset(self, model: Any, sample: LabelledFiles, seed: int) -> Dataset:
        """Return the training data of a seed, or its features if they are the same in every epoch."""
        dataset = self._reduced(self.recipe.build_train_dataset(self.arguments.method, sample, self.processor, seed))
        if isinstance(dataset, AugmentedImageDataset) and not isinstance(dataset, AugmentedViewDataset):
            return dataset
        return self.stored_features(model.to(self.settings.device), dataset)

    def eval_dataset(self, model: Any) -> Any:
        """Return the data of the Trainer's own evaluations: the first test set, or its features."""
        role = next(iter(self.tests))
        return self.features_for(model, role) if model.has_fixed_image_features else self.test_images(role)

    def _ask_zero_shot(self, test: TestSet) -> None:
        """Give the zero-shot classifier the classes and prompts of a test set, unless it has them."""
        if test is not self._zero_shot_test:
            self.zero_shot.set_classes(test.images.class_names, self.processor, test.templates, test.class_prompts)
            self._zero_shot_test = test

    def _set_classes(self, model: Any, test: TestSet) -> None:
        if test.class_prompts is None or not isinstance(model, EnsemblePromptModel):
            super()._set_classes(model, test)
        elif list(test.images.class_names) != model.config.class_names:
            model.set_classes(test.images.class_names, self.processor, test.templates, test.class_prompts)

    def _zero_shot_results(self, role: str) -> dict[str, Any]:
        results, sentences = super()._zero_shot_results(role), self.tests[role].class_prompts
        if sentences is not None:
            results["class_prompts"] = {
                "source": self.arguments.data.class_prompts,
                "sentences": sum(map(len, sentences)),
                "digest": digest_of([test.class_prompts for test in self.tests.values()]),
            }
        return results

    def test_images(self, role: str) -> Any:
        """Return the dataset of a test set."""
        return self._reduced(self.recipe.build_test_dataset(self.tests[role].images, self.processor))

    def _reduced(self, dataset: Any) -> Any:
        """Return a dataset, with JPEGs decoded at a reduced size if it has no random crops and the flag is given."""
        if self.arguments.data.reduced_jpeg and isinstance(dataset, ImageDataset):
            dataset.least_side = resized_side(self.processor.image_processor)
        return dataset

    def stored_features(self, model: Any, dataset: Any) -> Any:
        """Return the features of a dataset's images or views under a model's image tower, from the cache if known."""
        compute = compute_view_features if isinstance(dataset, AugmentedViewDataset) else compute_image_features
        return compute(
            model,
            dataset,
            num_workers=self.settings.dataloader_num_workers,
            progress=not self.settings.disable_tqdm,
            cache=self.cache_of(model),
        )

    def cache_of(self, model: Any) -> FeatureCache | None:
        """Return the cache for the features that a model reads."""
        if model.image_feature == self.zero_shot.image_feature:
            return self.cache
        return open_feature_cache(self.arguments.data.feature_cache, model, self.processor.image_processor)
