"""Training of the heads on stored features, without the image tower, with the settings of the papers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from hf_prompt_models.models.feature_adapter.adapters_feature_adapter import ClassLogits, KeyCache, TextWeightedProbe
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import FeatureAdapterConfig
from hf_prompt_models.models.feature_adapter.scale_search_feature_adapter import HeldOut, search_scales
from hf_prompt_models.utils.schedule import epoch_cosine_learning_rate


FULL_BATCH = 2**20
"""Batch size that stands for all images."""
RELEASED_ALPHA, RELEASED_BETA = 1.17, 1.0
"""Start of Tip-Adapter's settings in its released configuration for ImageNet."""
NUM_FOLDS = 4
ALPHA_STEPS = 10
"""LP++ updates the weights of the text features in each tenth step."""
ALPHA_START = 250.0


OnEpoch = Callable[[int, float, float], None]


def ignore_epoch(epoch: int, loss: float, learning_rate: float) -> None:
    """Do nothing after an epoch."""


@dataclass(frozen=True)
class FitSettings:
    """Settings of the training loop.

    Attributes:
        learning_rate: learning rate; LP++ computes its own.
        num_epochs: number of passes; for full batches, of steps.
        batch_size: number of rows in a batch.
    """

    learning_rate: float
    num_epochs: int
    batch_size: int


def fit_settings(adapter_type: str, images_per_class: float) -> FitSettings:
    """Return the settings of the papers and their released codes.

    Args:
        adapter_type: type of the adapter.
        images_per_class: mean number of training images per class.
    """
    match adapter_type:
        case "clap" | "linear":
            return FitSettings(0.1, 300, 256)
        case "taskres":
            return FitSettings(2e-3, 200 if images_per_class > 4 else 100, 256)
        case "lp++":
            return FitSettings(0.0, 300, FULL_BATCH)
        case "tip_adapter":
            return FitSettings(0.0, 0, FULL_BATCH)
        case "tip_adapter_f":
            return FitSettings(1e-3, 20, 256)
        case "clip_adapter":
            epochs = 50 if images_per_class <= 1 else 100 if images_per_class <= 4 else 200
            return FitSettings(2e-3, epochs, 32)
        case _:
            return FitSettings(1e-4, 300, FULL_BATCH)


@dataclass
class Support:
    """Training data of an adapter.

    Attributes:
        features: (views, images, dim) features as given.
        labels: (images,) class indices.
        num_classes: number of classes.
    """

    features: torch.Tensor
    labels: torch.Tensor
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> torch.Tensor:
        """Number of images of each class, (classes,)."""
        return self.labels.bincount(minlength=self.num_classes)

    def select(self, indices: torch.Tensor) -> "Support":
        """Return some of the images, with all their views."""
        return Support(self.features[:, indices], self.labels[indices], self.num_classes)

    def keys(self) -> torch.Tensor:
        """Return the mean of the features over the views, L2-normalised, (images, dim)."""
        return F.normalize(self.features.mean(dim=0), dim=-1)

    def row_batches(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch of CLAP: as many as one view fills, of random rows of all views."""
        num_views, num_images, _ = self.features.shape
        if num_views == 1 and num_images <= batch_size:
            yield self.features[0], self.labels
            return
        order = torch.randperm(num_views * num_images)
        for start in range(0, max(num_images // batch_size, 1) * batch_size, batch_size):
            rows = order[start : start + batch_size].to(self.labels.device)
            yield self.features.flatten(0, 1)[rows], self.labels[rows % num_images]

    def image_batches(self, batch_size: int, drop_last: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch with one random view of each image."""
        num_views, num_images, _ = self.features.shape
        device = self.labels.device
        order = torch.arange(num_images) if num_images <= batch_size else torch.randperm(num_images)
        views = torch.randint(num_views, (num_images,)) if num_views > 1 else torch.zeros(num_images, dtype=torch.long)
        stop = num_images // batch_size * batch_size if drop_last and num_images > batch_size else num_images
        for start in range(0, stop, batch_size):
            images = order[start : min(start + batch_size, stop)].to(device)
            yield self.features[views.to(device)[images], images], self.labels[images]


@dataclass
class Fitting:
    """Training of one adapter.

    Attributes:
        adapter_type: type of the adapter.
        adapter: the adapter, at its start.
        support: the training data.
        text: (classes, dim) text features.
        class_logits: function that compares unit features at the backbone's temperature.
        settings: settings of the training loop.
        on_epoch: function that is called with the epoch, counted from 1, its mean loss and its last learning rate.
        validation: held-out features and labels, which select the epoch and the settings.
        best_epoch: the epoch that they selected.
    """

    adapter_type: str
    adapter: Any
    support: Support
    text: torch.Tensor
    class_logits: ClassLogits
    settings: FitSettings
    on_epoch: OnEpoch
    validation: tuple[torch.Tensor, torch.Tensor] | None = None
    best_epoch: int | None = None

    @property
    def config(self) -> FeatureAdapterConfig:
        """Configuration of the model."""
        return self.adapter.config

    def run(self) -> None:
        """Train the adapter, and set the settings that are searched in its configuration."""
        match self.adapter_type:
            case "clap" | "linear":
                self._fit_class_weights()
            case "taskres":
                adam = torch.optim.Adam(self.adapter.parameters(), weight_decay=5e-4)
                self._fit(adam, self._dassl_batches, self._dassl_rate)
            case "clip_adapter":
                sgd = torch.optim.SGD(self.adapter.parameters(), lr=0.0, momentum=0.9, weight_decay=5e-4)
                self._fit(sgd, self._dassl_batches, self._dassl_rate)
            case "lp++":
                self._fit_text_weighted_probe()
            case "tip_adapter" | "tip_adapter_f":
                self._fit_keys()
            case _:
                self._fit_projection()

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of features, (rows, classes)."""
        return self.adapter(images, self.adapter.class_weights(self.text), self.class_logits)

    # -- the training loop -------------------------------------------------------------------------------------------

    def _dassl_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.support.image_batches(self.settings.batch_size, drop_last=True)

    def _dassl_rate(self, epoch: int, share: float) -> float:
        return epoch_cosine_learning_rate(epoch, self.settings.num_epochs, self.settings.learning_rate)

    def _cosine_rate(self, epoch: int, share: float) -> float:
        """Return the cosine from the learning rate to 0, by step; `share` is the part of the epoch that is done."""
        return self.settings.learning_rate / 2 * (1 + math.cos(math.pi * (epoch + share) / self.settings.num_epochs))

    def _fit(
        self,
        optimizer: torch.optim.Optimizer,
        batches: Callable[[int], Iterator[tuple[torch.Tensor, torch.Tensor]]],
        rate: Callable[[int, float], float],
        compute_gradient: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        """Train for the number of epochs; with validation data, keep the best epoch.

        Args:
            optimizer: the optimizer, whose learning rate is set in each step.
            batches: function from an epoch to its batches of features and labels.
            rate: function from an epoch and the part of it that is done to the learning rate.
            compute_gradient: function from a batch to its loss that sets the gradients. Default: the cross-entropy.
            after_step: function that is called with the epoch after each step.
        """
        compute_gradient = compute_gradient or self._backpropagate
        best = Best(self.adapter)
        for epoch in range(self.settings.num_epochs):
            losses = []
            steps = list(batches(epoch))
            for step, (images, labels) in enumerate(steps):
                for group in optimizer.param_groups:
                    group["lr"] = rate(epoch, step / len(steps))
                losses.append(compute_gradient(images, labels))
                optimizer.step()
                if after_step is not None:
                    after_step(epoch)
            self.on_epoch(epoch + 1, torch.stack(losses).mean().item(), optimizer.param_groups[0]["lr"])
            if self.validation is not None:
                best.update(epoch + 1, self._accuracy())
        if self.validation is not None:
            self.best_epoch = best.restore()

    def _backpropagate(
        self, images: torch.Tensor, labels: torch.Tensor, penalty: Callable[[], torch.Tensor] | None = None
    ) -> torch.Tensor:
        loss = F.cross_entropy(self.logits(images), labels)
        if penalty is not None:
            loss = loss + penalty()
        self.adapter.zero_grad()
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def _accuracy(self) -> float:
        assert self.validation is not None
        images, labels = self.validation
        return (self.logits(images).argmax(dim=-1) == labels).double().mean().item()

    # -- the types ---------------------------------------------------------------------------------------------------

    def _fit_class_weights(self) -> None:
        """Train class weights; CLAP keeps those close to the text whose class the text recognises.

        The gradient is written out, because it takes less than half the time of autograd's for so small a product.
        """
        weight = self.adapter.weight
        support = replace(self.support, features=F.normalize(self.support.features, dim=-1))
        multipliers = (
            self._clap_multipliers(support) if self.adapter_type == "clap" else torch.zeros_like(weight[:, 0])
        )
        axis = F.one_hot(torch.zeros(1, dtype=torch.long, device=weight.device), weight.shape[1]).to(weight.dtype)
        # Logits are the cosines times this, plus a constant, which the cross-entropy does not depend on.
        temperature = self.class_logits(axis, axis) - self.class_logits(axis, 0 * axis)

        @torch.no_grad()
        def compute_gradient(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            norms = weight.norm(dim=-1, keepdim=True)
            unit, difference = weight / norms, weight - self.text
            log_probabilities = (temperature * F.linear(images, unit)).log_softmax(dim=-1)
            own = labels[:, None]
            loss = -log_probabilities.gather(1, own).mean()
            errors = log_probabilities.exp_().scatter_add_(1, own, -torch.ones_like(own, dtype=weight.dtype))
            gradient = errors.T @ images * (temperature / len(images))
            gradient -= unit * (gradient * unit).sum(dim=-1, keepdim=True)  # the length of a weight has no effect
            weight.grad = gradient / norms + 2 / len(weight) * multipliers[:, None] * difference
            return loss + (multipliers * difference.square().sum(dim=-1)).mean()

        optimizer = torch.optim.SGD([weight], lr=0.0, momentum=0.9)
        batch_size = self.settings.batch_size
        self._fit(optimizer, lambda epoch: support.row_batches(batch_size), self._dassl_rate, compute_gradient)

    @torch.no_grad()
    def _clap_multipliers(self, support: Support) -> torch.Tensor:
        """Return the mean zero-shot probability of each class over its own rows, (classes,)."""
        weights = F.normalize(self.text, dim=-1)
        sums = self.text.new_zeros(support.num_classes)
        for view in support.features:
            for images, labels in zip(view.split(4096), support.labels.split(4096), strict=True):
                probabilities = self.class_logits(images, weights).softmax(dim=-1)
                own = probabilities.gather(1, labels[:, None])[:, 0]
                sums.index_add_(0, labels, own.to(sums.dtype))
        return sums / (len(support.features) * support.counts)

    def _fit_text_weighted_probe(self) -> None:
        """Train LP++ on the first view: gradient steps of Lipschitz step sizes on one full batch."""
        adapter: TextWeightedProbe = self.adapter
        images, labels = F.normalize(self.support.features[0], dim=-1), self.support.labels
        with torch.no_grad():
            similarities = images @ self.text.T
            own = similarities.gather(1, labels[:, None])[:, 0]
            means = own.new_zeros(len(adapter.bias)).index_add(0, labels, own) / self.support.counts
            adapter.weight.zero_().index_add_(0, labels, images)
            adapter.bias.zero_()
            adapter.text_weight.fill_(ALPHA_START * means.mean().item())
            largest = torch.linalg.eigvalsh((images.T @ images).double())[-1].item()
        rate = 4 * len(images) / largest
        text_rate = len(images) / (4 * similarities.square().sum(dim=0).max().item())
        optimizer = torch.optim.SGD([adapter.weight, adapter.bias], lr=rate, momentum=0.9)
        total = torch.zeros_like(adapter.text_weight)

        def update_text_weight(step: int) -> None:
            """Update the weights of the text features, whose gradient belongs to the point before the step."""
            gradient = adapter.text_weight.grad
            assert gradient is not None
            if self.config.legacy_accumulated_gradient:
                gradient = total.add_(gradient)
            if (step + 1) % ALPHA_STEPS == 0:
                with torch.no_grad():
                    adapter.text_weight.sub_(text_rate * gradient)
            adapter.text_weight.grad = None

        self._fit(optimizer, lambda step: iter([(images, labels)]), lambda *_: rate, after_step=update_text_weight)

    def _fit_projection(self) -> None:
        """Train ProLIP on full batches, each with another view."""
        adapter, support = self.adapter, self.support
        start = adapter.weight.detach().clone()
        if (weight := self.config.regularization) is None:
            weight = support.num_classes / len(support)
        optimizer = torch.optim.Adam([adapter.weight], eps=1e-4)
        self._fit(
            optimizer,
            lambda epoch: iter([(support.features[epoch % len(support.features)], support.labels)]),
            self._cosine_rate,
            lambda images, labels: self._backpropagate(
                images, labels, lambda: weight * (adapter.weight - start).square().sum()
            ),
        )

    # -- Tip-Adapter -------------------------------------------------------------------------------------------------

    def _fit_keys(self) -> None:
        """Fill the cache; search alpha and beta on validation data, or on images that the cache does not hold."""
        config = self.config
        searched = config.searched or []
        given = {name: getattr(config, name) for name in ("alpha", "beta") if name not in searched}
        self._set_keys(self.support)
        config.update({"alpha": RELEASED_ALPHA, "beta": RELEASED_BETA} | given)
        if self.validation is None and searched:
            config.update(search_scales([self._left_out()], **given) or {})
        held_out: list[HeldOut] = []
        if self.adapter_type == "tip_adapter_f" and config.alpha:
            if self.validation is None and searched:
                held_out = self._folds()
            self._train_keys()
        if self.validation is not None:
            held_out = [self._held_out(*self.validation)]
        if searched:
            config.update(search_scales(held_out, **given) or {})

    def _set_keys(self, support: Support) -> None:
        self.adapter.set_keys(support.keys(), support.labels)

    def _train_keys(self) -> None:
        """Train the keys of Tip-Adapter-F, which start as those of the images."""
        optimizer = torch.optim.AdamW([self.adapter.keys], eps=1e-4, weight_decay=1e-2)
        self._fit(
            optimizer,
            lambda epoch: self.support.image_batches(self.settings.batch_size, drop_last=False),
            self._cosine_rate,
        )

    @torch.no_grad()
    def _held_out(self, images: torch.Tensor, labels: torch.Tensor) -> HeldOut:
        adapter: KeyCache = self.adapter
        images = F.normalize(images, dim=-1)
        logits = self.class_logits(images, F.normalize(self.text, dim=-1))
        return HeldOut(logits, images @ adapter.keys.T, adapter.labels, labels)

    def _left_out(self) -> HeldOut:
        """Return each image with the cache of all others, of those whose class has another image."""
        support = self.support
        several = support.counts[support.labels] > 1
        found = self._held_out(support.keys(), support.labels)
        found.affinities.fill_diagonal_(-torch.inf)
        return HeldOut(found.logits[several], found.affinities[several], found.key_labels, found.labels[several])

    def _folds(self) -> list[HeldOut]:
        """Train the keys without the images of each fold, and return these images with that cache."""
        support = self.support
        place = torch.zeros(len(support), dtype=torch.long)  # of each image among those of its class
        for label in range(support.num_classes):
            own = (support.labels == label).nonzero()[:, 0].cpu()
            place[own] = torch.arange(len(own))
        several = (support.counts[support.labels] > 1).cpu()
        found = []
        for fold in range(min(NUM_FOLDS, int(support.counts.max()))):
            is_held_out = (place % NUM_FOLDS == fold) & several
            images, rest = (support.select(each.nonzero()[:, 0]) for each in (is_held_out, ~is_held_out))
            if not len(images):
                continue
            self._set_keys(rest)
            replace(self, support=rest, on_epoch=ignore_epoch)._train_keys()
            found.append(self._held_out(images.features.mean(dim=0), images.labels))
        self._set_keys(support)
        return found


class Best:
    """The tensors of an adapter in its best epoch.

    Args:
        adapter: the adapter.
    """

    def __init__(self, adapter: nn.Module):
        self.adapter = adapter
        self.epoch: int | None = None
        self.accuracy = -1.0
        self.tensors: dict[str, torch.Tensor] = {}

    def update(self, epoch: int, accuracy: float) -> None:
        """Record an epoch if it is better than all before."""
        if accuracy > self.accuracy:
            self.epoch, self.accuracy = epoch, accuracy
            self.tensors = {name: tensor.clone() for name, tensor in self.adapter.state_dict().items()}

    def restore(self) -> int | None:
        """Put the tensors of the best epoch into the adapter, and return the epoch."""
        if self.epoch is not None:
            self.adapter.load_state_dict(self.tensors)
        return self.epoch
