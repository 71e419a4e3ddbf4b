"""The heads over frozen features. Each maps image features and the text features of the classes to logits."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import FeatureAdapterConfig
from hf_prompt_models.models.feature_adapter.scale_search_feature_adapter import votes


ClassLogits = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Function that compares unit image features with unit class features at the backbone's temperature."""
TASKRES_ALPHA = 0.5


class Adapter(nn.Module):
    """Base class of the heads.

    Args:
        config: Configuration of the model, from which the settings are read in each forward pass.
    """

    def __init__(self, config: FeatureAdapterConfig):
        super().__init__()
        self.config = config

    def start(self, text: torch.Tensor) -> None:
        """Set the trained tensors to their start. By default they do not depend on the text features.

        Args:
            text: (classes, dim) text features of the classes.
        """

    def class_weights(self, text: torch.Tensor) -> torch.Tensor:
        """Return the features that images are compared with, (classes, dim), L2-normalised.

        Args:
            text: (classes, dim) text features of the classes.
        """
        return F.normalize(text, dim=-1)

    def forward(self, images: torch.Tensor, weights: torch.Tensor, class_logits: ClassLogits) -> torch.Tensor:
        """Return the logits, (batch, classes).

        Args:
            images: (batch, dim) image features, normalised or not.
            weights: (classes, dim), as returned by `class_weights`.
            class_logits: function that compares unit features.
        """
        return class_logits(F.normalize(images, dim=-1), weights)


class ClassWeights(Adapter):
    """Class weights that start at the text features: ZS-LP and CLAP (jusiro/CLAP, `trainers/adapters.py`)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int):
        super().__init__(config)
        self.weight = nn.Parameter(torch.empty(config.num_labels, dim))

    def start(self, text: torch.Tensor) -> None:
        """Set the class weights to the text features."""
        self.weight.copy_(text)

    def class_weights(self, text: torch.Tensor) -> torch.Tensor:
        """Return the normalised class weights, (classes, dim)."""
        return F.normalize(self.weight, dim=-1)


class TaskResidual(Adapter):
    """Residual of the text features, times `alpha` (TaskRes, `trainers/taskres.py`)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int):
        super().__init__(config)
        self.alpha = TASKRES_ALPHA if config.alpha is None else config.alpha
        self.residual = nn.Parameter(torch.empty(config.num_labels, dim))

    def start(self, text: torch.Tensor) -> None:
        """Set the residual to zero."""
        self.residual.zero_()

    def class_weights(self, text: torch.Tensor) -> torch.Tensor:
        """Return the normalised sum of text features and residual, (classes, dim)."""
        return F.normalize(text + self.alpha * self.residual, dim=-1)


class TextWeightedProbe(Adapter):
    """Linear probe with a trained weight for each text feature and no temperature (LP++, CVPR 2024)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int):
        super().__init__(config)
        self.weight = nn.Parameter(torch.empty(config.num_labels, dim))
        self.bias = nn.Parameter(torch.empty(config.num_labels))
        self.text_weight = nn.Parameter(torch.empty(config.num_labels))

    def forward(self, images: torch.Tensor, weights: torch.Tensor, class_logits: ClassLogits) -> torch.Tensor:
        """Return the logits, (batch, classes)."""
        return F.linear(F.normalize(images, dim=-1), self.weight + self.text_weight[:, None] * weights, self.bias)


class KeyCache(Adapter):
    """Cache of example features, whose similarities with an image vote for their classes (Tip-Adapter, ECCV 2022)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int):
        super().__init__(config)
        self.keys = nn.Parameter(torch.empty(len(config.key_labels or ()), dim))
        self._labels: torch.Tensor | None = None

    @property
    def labels(self) -> torch.Tensor:
        """Class index of each key, (keys,)."""
        device = self.keys.device
        if self._labels is None or self._labels.device != device or len(self._labels) != len(self.keys):
            self._labels = torch.tensor(self.config.key_labels or [], dtype=torch.long, device=device)
        return self._labels

    def set_keys(self, keys: torch.Tensor, labels: torch.Tensor) -> None:
        """Replace the cache.

        Args:
            keys: (keys, dim), L2-normalised.
            labels: (keys,) class indices.
        """
        self.config.key_labels = labels.tolist()
        self._labels = None
        self.keys = nn.Parameter(keys.clone())

    def forward(self, images: torch.Tensor, weights: torch.Tensor, class_logits: ClassLogits) -> torch.Tensor:
        """Return the logits, (batch, classes)."""
        images = F.normalize(images, dim=-1)
        logits = class_logits(images, weights)
        alpha, beta = self.config.alpha, self.config.beta
        if not len(self.keys) or not alpha or beta is None:
            return logits
        return logits + alpha * votes(self.keys @ images.T, self.labels, self.config.num_labels, beta)


class ResidualMLP(Adapter):
    """Two-layer network, mixed with the image feature before it is normalised (CLIP-Adapter, `clip_adapter.py`)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int):
        super().__init__(config)
        self.down_proj = nn.Linear(dim, dim // 4, bias=False)
        self.up_proj = nn.Linear(dim // 4, dim, bias=False)

    def start(self, text: torch.Tensor) -> None:
        """Initialise both layers at random, as `nn.Linear` does."""
        self.down_proj.reset_parameters()
        self.up_proj.reset_parameters()

    def forward(self, images: torch.Tensor, weights: torch.Tensor, class_logits: ClassLogits) -> torch.Tensor:
        """Return the logits, (batch, classes)."""
        adapted = F.relu(self.up_proj(F.relu(self.down_proj(images))))
        ratio = self.config.ratio
        return super().forward(ratio * adapted + (1 - ratio) * images, weights, class_logits)


class ImageProjection(Adapter):
    """The projection of the image tower, which starts at the backbone's (ProLIP, `methods/ProLIP.py`)."""

    def __init__(self, config: FeatureAdapterConfig, dim: int, width: int):
        super().__init__(config)
        self.weight = nn.Parameter(torch.empty(dim, width))

    def forward(self, images: torch.Tensor, weights: torch.Tensor, class_logits: ClassLogits) -> torch.Tensor:
        """Return the logits, (batch, classes)."""
        return super().forward(F.linear(images, self.weight), weights, class_logits)
