"""Candidates with their models, which are trained again on each part of the images, from features computed once."""

import math
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import set_seed

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, FeatureDataset, ImageDataset, ViewFeatureDataset
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.models import recipe_of
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.processing_utils import ClipPromptProcessor
from hf_prompt_models.recipe_utils import Protocol
from hf_prompt_models.tasks.arguments import recipe_arguments
from hf_prompt_models.tasks.image_classification.auto.budget import Budget, WithinBudget
from hf_prompt_models.tasks.image_classification.auto.candidates import ADAPTER, COOP, ZERO_SHOT, Candidate
from hf_prompt_models.tasks.image_classification.features import class_logits, compute_image_features
from hf_prompt_models.training.feature_cache import open_feature_cache
from hf_prompt_models.training.trainer import PromptTrainer


PROBED_STEPS = 5
"""Number of training steps whose time is measured."""


class Features:
    """Features of the training images, computed once for all candidates that read them.

    Args:
        images: The training images.
        processor: Processor of the backbone.
        feature_cache: Folder of the cache, as for `open_feature_cache`.
        seed: Seed of the crops.
        budget: Time budget in which features have to be computed.
        progress: Whether to show progress bars.
    """

    def __init__(
        self,
        images: LabelledImages,
        processor: ClipPromptProcessor,
        feature_cache: str | None,
        seed: int,
        budget: Budget,
        progress: bool = True,
    ):
        self.images, self.processor, self.seed, self.budget = images, processor, seed, budget
        self.labels = torch.tensor(images.labels)
        self._feature_cache, self._progress = feature_cache, progress
        self._found: dict[tuple[str, int, float], torch.Tensor] = {}
        self._seconds_per_image = 0.0

    def of(self, model: Any, views: int = 0, min_crop_area: float = 1.0) -> torch.Tensor:
        """Return the features that a model reads, (views, images, dim); one view of the prepared images for 0 views.

        Args:
            model: The model with the image tower.
            views: Number of random crops of each image.
            min_crop_area: Smallest area of a crop.

        Raises:
            OutOfTimeError: If they cannot be computed within the time budget.
        """
        key = (model.image_feature, views, min_crop_area if views else 1.0)
        if key not in self._found:
            dataset: ImageDataset | AugmentedViewDataset = ImageDataset(self.images, self.processor.image_processor)
            if views:
                dataset = AugmentedViewDataset(
                    views, self.images, self.processor.image_processor, self.seed, min_crop_area
                )
            self.budget.check(self._seconds_per_image * len(dataset))
            began = time.monotonic()
            cache = open_feature_cache(self._feature_cache, model, self.processor.image_processor)
            timed: Any = WithinBudget(dataset, self.budget)
            found = compute_image_features(model, timed, progress=self._progress, cache=cache).features
            self._seconds_per_image = (time.monotonic() - began) / len(dataset)
            self._found[key] = found.unflatten(0, (-1, max(views, 1))).transpose(0, 1).contiguous()
        return self._found[key]


class Learner:
    """A candidate with its model.

    Args:
        candidate: The candidate.
        backbone: Hub id or folder of the backbone.
        features: Features of the training images.
        device: Device of the model.
    """

    def __init__(self, candidate: Candidate, backbone: str, features: Features, device: torch.device | str = "cpu"):
        self.candidate, self.features = candidate, features
        names, processor, prompts = features.images.class_names, features.processor, candidate.prompts
        set_seed(features.seed)
        if candidate.method == ZERO_SHOT:
            self.model: Any = ClipZeroShotForImageClassification.from_backbone(
                backbone, names, prompts.templates, processor, prompts.class_prompts
            )
        else:
            recipe: Any = recipe_of(candidate.method)
            self.model = recipe.build_model(
                candidate.arguments, backbone, names, processor, prompts.templates, prompts.class_prompts
            )
        self.model.to(device).eval()
        self._plain = features.of(self.model)[0]
        if candidate.method != COOP:
            with torch.no_grad():
                self.model.get_text_features()  # cached from here on, and not part of the time of a training
        self._start = {
            name: each.detach().clone() for name, each in self.model.named_parameters() if each.requires_grad
        }

    def train(self, rows: np.ndarray) -> None:
        """Train the model from its start.

        A class without images in these rows is represented by its text feature, where the method needs an example.

        Args:
            rows: Indices of the images to train on.
        """
        if self.candidate.method == ZERO_SHOT:
            return
        set_seed(self.features.seed)
        views = self._views()[:, rows]
        labels = self.features.labels[rows]
        if self.candidate.method == ADAPTER:
            views, labels = self._with_all_classes(views, labels)
            self.model.fit_features(views, labels)
        else:
            self._train_prompt(views, labels)
        self.model.eval()

    def scores(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the logits of images, (images, classes).

        Args:
            rows: Indices of the images.
        """
        return class_logits(self.model, FeatureDataset(self._plain[rows], self.features.labels[rows]))

    def seconds_expected(self) -> float:
        """Return the seconds of a training on all images, measured on a few steps; 0 where trainings are quick."""
        if self.candidate.method in (ZERO_SHOT, ADAPTER):
            return 0.0
        views, times = self._views(), []
        for steps in (1, 1 + PROBED_STEPS):  # the first step also starts the Trainer
            began = time.monotonic()
            total = self._train_prompt(views, self.features.labels, steps)
            times.append(time.monotonic() - began)
        return times[0] + max(times[1] - times[0], 0.0) / PROBED_STEPS * total

    def _views(self) -> torch.Tensor:
        return self.features.of(self.model, self.candidate.views, self.candidate.arguments.min_crop_area)

    def _with_all_classes(self, views: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the text features of classes without images, at the length of the images' features."""
        counts = labels.bincount(minlength=self.model.num_labels)
        missing = (counts == 0).nonzero()[:, 0]
        if not len(missing) or self.model.fixed_classes is None:
            return views, labels
        length = views.norm(dim=-1).mean()
        added = F.normalize(self.model.text_base(), dim=-1)[missing].cpu() * length
        return torch.cat([views, added.expand(len(views), *added.shape)], dim=1), torch.cat([labels, missing])

    def _train_prompt(self, views: torch.Tensor, labels: torch.Tensor, max_steps: int = -1) -> int:
        """Train a prompt with the Trainer, with the settings of its recipe for this number of images per class.

        Args:
            views: (views, images, dim) features.
            labels: (images,) class indices.
            max_steps: Number of steps, or -1 for all.

        Returns:
            The number of all steps.
        """
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self._start:
                    parameter.copy_(self._start[name])
        recipe: Any = recipe_of(self.candidate.method)
        shots = max(round(len(labels) / self.model.num_labels), 1)
        dataset = ViewFeatureDataset(views.transpose(0, 1), labels, self.features.seed)
        with tempfile.TemporaryDirectory() as folder:
            defaults = recipe.training_defaults(Protocol(shots=shots))
            defaults["dataloader_drop_last"] = len(labels) >= defaults["per_device_train_batch_size"]
            settings = recipe_arguments(
                defaults,
                folder,
                seed=self.features.seed,
                max_steps=max_steps,
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to="none",
                use_cpu=self.model.device.type == "cpu",
            )
            trainer = PromptTrainer(
                model=self.model,
                args=settings,
                train_dataset=dataset,
                learning_rate_factors=recipe.learning_rate_factors(self.candidate.arguments),
                callbacks=recipe.callbacks(self.candidate.arguments),
            )
            trainer.train()
            return math.ceil(trainer.args.num_train_epochs) * trainer.steps_per_epoch()
