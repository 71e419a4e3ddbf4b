"""Feature adapter model configuration."""

from typing import ClassVar, Literal, get_args

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import ClassifierConfig


AdapterType = Literal["clap", "linear", "lp++", "taskres", "tip_adapter", "tip_adapter_f", "clip_adapter", "prolip"]
ADAPTER_TYPES: tuple[str, ...] = get_args(AdapterType)

SETTINGS: dict[str, frozenset[str]] = {
    "alpha": frozenset({"taskres", "tip_adapter", "tip_adapter_f"}),
    "beta": frozenset({"tip_adapter", "tip_adapter_f"}),
    "ratio": frozenset({"clip_adapter"}),
    "regularization": frozenset({"prolip"}),
    "legacy_accumulated_gradient": frozenset({"lp++"}),
}
"""The types of adapters that have a setting."""


def check_settings(
    alpha: float | None = None,
    beta: float | None = None,
    ratio: float | None = None,
    regularization: float | None = None,
) -> None:
    """Check the settings, which are described in [`FeatureAdapterConfig`].

    Raises:
        ValueError: if one is out of range; the message names it.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("regularization", regularization)):
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a number of at least 0, got {value}.")
    if ratio is not None and not 0 <= ratio <= 1:
        raise ValueError(f"ratio must be a share from 0 to 1, got {ratio}.")


@strict
class FeatureAdapterConfig(ClassifierConfig):
    r"""Configuration of [`FeatureAdapterForImageClassification`].

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone.
        adapter_type (`str`, *optional*, defaults to `"clap"`):
            `"linear"` (ZS-LP) and `"clap"` (arXiv 2312.12730), `"lp++"` (2404.02285), `"taskres"` (2211.10277),
            `"tip_adapter"` and `"tip_adapter_f"` (2207.09519), `"clip_adapter"` (2110.04544), or `"prolip"`
            (2410.05270).
        templates (`list[str]`, *optional*):
            Sentences with one `{}` for the class name, which the text features are made from.
        class_prompts (`list[list[str]]`, *optional*):
            Sentences about each class, by its index. They form an ensemble with the templates.
        prompt_token_ids (`list[str]`, *optional*):
            Token ids of each prompt: all classes in the first template, then in the second, …, then the sentences of
            the first class, of the second, ….
        alpha (`float`, *optional*):
            Weight of the residual (TaskRes), or of the cached examples (Tip-Adapter).
        beta (`float`, *optional*):
            Sharpness of the similarity with the cached examples (Tip-Adapter).
        ratio (`float`, *optional*, defaults to 0.2):
            Share of the adapted feature in the image feature (CLIP-Adapter).
        regularization (`float`, *optional*):
            Weight of the squared distance of the projection from the backbone's (ProLIP). Default: 1 / shots.
        legacy_accumulated_gradient (`bool`, *optional*, defaults to `False`):
            Whether the weights of the text features are updated with the sum of all their gradients so far, as the
            released code of LP++ does, instead of the current gradient.
        searched (`list[str]`, *optional*):
            Names of the settings that `fit_features` searched.
        key_labels (`list[int]`, *optional*):
            Class index of each cached example (Tip-Adapter).

    Example:
        ```python
        >>> from hf_prompt_models import FeatureAdapterConfig
        >>> config = FeatureAdapterConfig(adapter_type="tip_adapter", alpha=1.0, beta=5.5)
        >>> config.adapter_type, config.alpha, config.beta
        ('tip_adapter', 1.0, 5.5)

        ```
    """

    task = "image-classification"
    model_type = "feature_adapter"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    adapter_type: AdapterType = "clap"
    templates: list[str] | None = None
    class_prompts: list[list[str]] | None = None
    prompt_token_ids: list[str] | None = None
    alpha: float | None = None
    beta: float | None = None
    ratio: float = 0.2
    regularization: float | None = None
    legacy_accumulated_gradient: bool = False
    searched: list[str] | None = None
    key_labels: list[int] | None = None

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        check_settings(self.alpha, self.beta, self.ratio, self.regularization)
        if self.key_labels and not 0 <= min(self.key_labels) <= max(self.key_labels) < self.num_labels:
            raise ValueError(f"Expected class indices below {self.num_labels} in key_labels.")


__all__ = ["FeatureAdapterConfig"]
