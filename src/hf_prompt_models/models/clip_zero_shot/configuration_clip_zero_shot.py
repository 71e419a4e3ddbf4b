"""Zero-shot CLIP model configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class ClipZeroShotConfig(PromptConfig):
    r"""
    Configuration of [`ClipZeroShotForImageClassification`].

    clip_config (`CLIPConfig` or `dict`, *optional*):
        The backbone's configuration.
    templates (`list[str]`, *optional*):
        Sentences with one `{}` for the class name. Several make an ensemble.
    prompt_token_ids (`list[str]`, *optional*):
        A string of token ids for each prompt: all classes in the first template, then in the second, ….
    """

    model_type = "clip_zero_shot"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": CLIPConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds", "text_embeds"]

    clip_config: dict | CLIPConfig | None = None
    templates: list[str] | None = None
    prompt_token_ids: list[str] | None = None


__all__ = ["ClipZeroShotConfig"]
