"""Zero-shot CLIP model configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class ClipZeroShotConfig(PromptConfig):
    r"""
    Configuration of [`ClipZeroShotForImageClassification`].

    clip_config (`PreTrainedConfig` or `dict`, *optional*):
        The backbone's configuration: a `CLIPConfig`, or that of another model of `hf_prompt_models.backbones`, told by
        its `model_type`.
    templates (`list[str]`, *optional*):
        Sentences with one `{}` for the class name. Several make an ensemble.
    prompt_token_ids (`list[str]`, *optional*):
        A string of token ids for each prompt: all classes in the first template, then in the second, ….
    """

    task = "image-classification"
    model_type = "clip_zero_shot"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    templates: list[str] | None = None
    prompt_token_ids: list[str] | None = None


__all__ = ["ClipZeroShotConfig"]
