"""Base configuration of the methods that prompt a causal language model with images."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class PrefixLMConfig(PromptConfig):
    """Base of the configurations of methods that put images in front of a language model's text.

    text_config (`PreTrainedConfig` or `dict`, *optional*):
        Configuration of the language model. Its `model_type` can be that of any `AutoModelForCausalLM`.
    vision_config (`PreTrainedConfig` or `dict`, *optional*):
        Configuration of the vision backbone: any `AutoModel` that takes `pixel_values`.
    num_image_tokens (`int`, *optional*, defaults to 1):
        Number of slots that an image takes in the language model's input.
    image_token_id (`int`, *optional*):
        Token id of the placeholder that marks each slot. It may be larger than the ids in the language model's
        vocabulary.
    freeze_vision (`bool`, *optional*, defaults to `False`):
        Whether to freeze the vision backbone, so that only the image projection is trained on the vision side.
    """

    task = "image-text-to-text"

    sub_configs_defaults: ClassVar[dict] = {
        "text_config": SubConfigSpec(AutoConfig, model_type="gpt2"),
        "vision_config": SubConfigSpec(AutoConfig, model_type="resnet"),
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    text_config: PreTrainedConfig | dict | None = None
    vision_config: PreTrainedConfig | dict | None = None
    num_image_tokens: int = 1
    image_token_id: int | None = None
    freeze_vision: bool = False

    def validate_architecture(self) -> None:
        """Check the number of image slots, as part of the `@strict` validation."""
        if self.num_image_tokens < 1:
            raise ValueError(f"Expected num_image_tokens >= 1, got {self.num_image_tokens}.")
