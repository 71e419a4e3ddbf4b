"""Zero-shot CLIP model configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import ClassifierConfig


@strict
class ClipZeroShotConfig(ClassifierConfig):
    r"""Configuration of [`ClipZeroShotForImageClassification`].

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone: a `CLIPConfig`, or that of another model in `hf_prompt_models.backbones`,
            identified by its `model_type`.
        templates (`list[str]`, *optional*):
            Sentences with one `{}` for the class name. Several templates form an ensemble.
        class_prompts (`list[list[str]]`, *optional*):
            Sentences about each class, by its index. They form an ensemble with the templates.
        prompt_token_ids (`list[str]`, *optional*):
            Token ids of each prompt, one string per prompt: all classes in the first template, then in the second, …,
            then the sentences of the first class, of the second, ….

    Example:
        ```python
        >>> from hf_prompt_models import ClipZeroShotConfig
        >>> config = ClipZeroShotConfig(templates=["a photo of a {}.", "a drawing of a {}."])
        >>> len(config.templates)
        2

        ```
    """

    task = "image-classification"
    model_type = "clip_zero_shot"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: PreTrainedConfig | dict | None = None
    templates: list[str] | None = None
    class_prompts: list[list[str]] | None = None
    prompt_token_ids: list[str] | None = None


__all__ = ["ClipZeroShotConfig"]
