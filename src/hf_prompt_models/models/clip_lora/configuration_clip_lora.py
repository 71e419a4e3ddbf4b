"""CLIP-LoRA model configuration."""

import math
from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import ClassifierConfig


Encoder = Literal["vision", "text", "both"]


@strict
class ClipLoraConfig(ClassifierConfig):
    r"""Configuration of [`ClipLoraForImageClassification`] (CLIP-LoRA, arXiv 2405.18541).

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone.
        encoder (`"vision"`, `"text"` or `"both"`, *optional*, defaults to `"both"`):
            Towers of the backbone that have low-rank updates.
        rank (`int`, *optional*, defaults to 2):
            Rank of the updates.
        lora_alpha (`float`, *optional*, defaults to 1.0):
            Scale of the updates, which are multiplied with `lora_alpha / sqrt(rank)`.
        lora_dropout (`float`, *optional*, defaults to 0.25):
            Dropout probability of the input of the updates in training.
        text_chunk_size (`int`, *optional*):
            Number of prompts to encode at a time in training, to save memory. Without dropout, gradients do not
            change.
        templates (`list[str]`, *optional*):
            Sentences with one `{}` for the class name. Several templates form an ensemble.
        class_prompts (`list[list[str]]`, *optional*):
            Sentences about each class, by the index of the class. They and the templates form an ensemble.
        prompt_token_ids (`list[str]`, *optional*):
            Token ids of each prompt, one string per prompt: all classes in the first template, then in the second, …,
            then the sentences of each class.

    Example:
        ```python
        >>> from hf_prompt_models import ClipLoraConfig
        >>> config = ClipLoraConfig(rank=4, lora_alpha=2.0)
        >>> config.scaling, config.towers
        (1.0, ('text_model', 'vision_model'))

        ```
    """

    task = "image-classification"
    model_type = "clip_lora"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    encoder: Encoder = "both"
    rank: int = 2
    lora_alpha: float = 1.0
    lora_dropout: float = 0.25
    text_chunk_size: int | None = None
    templates: list[str] | None = None
    class_prompts: list[list[str]] | None = None
    prompt_token_ids: list[str] | None = None

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}.")
        if not 0 < self.lora_alpha < math.inf:
            raise ValueError(f"lora_alpha must be a number above 0, got {self.lora_alpha}.")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout must be at least 0 and below 1, got {self.lora_dropout}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(f"text_chunk_size must be at least 1, got {self.text_chunk_size}.")

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of the towers with updates, as in the backbone; the text tower first."""
        return {"text": ("text_model",), "vision": ("vision_model",), "both": ("text_model", "vision_model")}[
            self.encoder
        ]

    @property
    def scaling(self) -> float:
        """Factor of the product B A."""
        return self.lora_alpha / math.sqrt(self.rank)


__all__ = ["ClipLoraConfig"]
