"""What the configurations of methods over a language model hold."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class PrefixLMConfig(PromptConfig):
    r"""
    Base of the configurations of methods that put images in front of a language model's text.

    text_config (`PreTrainedConfig` or `dict`, *optional*):
        The language model's configuration: of any `AutoModelForCausalLM`, told by its `model_type`.
    vision_config (`PreTrainedConfig` or `dict`, *optional*):
        The vision backbone's: of any `AutoModel` that takes `pixel_values`.
    num_image_tokens (`int`, *optional*, defaults to 1):
        Slots in the language model's input that an image takes.
    image_token_id (`int`, *optional*):
        The placeholder's id, which stands in each slot. It may lie behind the language model's vocabulary.
    freeze_vision (`bool`, *optional*, defaults to `False`):
        Whether the vision backbone stays as it is, so that of the vision side the projection alone is trained.
    """

    task = "image-text-to-text"

    sub_configs_defaults: ClassVar[dict] = {
        "text_config": SubConfigSpec(AutoConfig, model_type="gpt2"),
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet"),
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    num_image_tokens: int = 1
    image_token_id: int | None = None
    freeze_vision: bool = False

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        if self.num_image_tokens < 1:
            raise ValueError(f"num_image_tokens is a number of slots, at least 1; got {self.num_image_tokens}.")
