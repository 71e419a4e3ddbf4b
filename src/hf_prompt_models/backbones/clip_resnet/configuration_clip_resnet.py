"""Configuration of CLIP models with a ResNet as image tower."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPTextConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class ClipResNetVisionConfig(PreTrainedConfig):
    r"""Configuration of the image tower of a ResNet CLIP; the defaults are those of RN50.

    layers (`list[int]`, *optional*, defaults to `[3, 4, 6, 3]`):
        Number of blocks of each of the four stages.
    width (`int`, *optional*, defaults to 64):
        Number of channels behind the stem. The last stage has 32 times as many.
    image_size (`int`, *optional*, defaults to 224):
        Height and width of images in pixels, a multiple of 32.
    output_dim (`int`, *optional*, defaults to 1024):
        Size of image features.
    head_width (`int`, *optional*, defaults to 64):
        Size of each head of the attention pool.
    num_channels (`int`, *optional*, defaults to 3):
        Number of channels of images.

    Example:
        ```python
        >>> from hf_prompt_models import ClipResNetVisionConfig
        >>> config = ClipResNetVisionConfig(layers=[4, 6, 10, 6], width=80, image_size=288, output_dim=640)  # RN50x4
        >>> config.image_size, config.output_dim
        (288, 640)

        ```
    """

    model_type = "clip_resnet_vision_model"
    base_config_key = "vision_config"

    layers: list[int] | tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    image_size: int = 224
    output_dim: int = 1024
    head_width: int = 64
    num_channels: int = 3

    def __post_init__(self, **kwargs: Any) -> None:
        self.layers = list(self.layers)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Check the sizes, as part of the `@strict` validation."""
        if len(self.layers) != 4 or min(self.layers) < 1:
            raise ValueError(f"Expected layers to be the numbers of blocks of four stages, got {self.layers}.")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"Expected width to be a positive even number, got {self.width}.")
        if self.image_size < 32 or self.image_size % 32:
            raise ValueError(f"Expected image_size to be a positive multiple of 32, got {self.image_size}.")
        if self.head_width < 1 or self.hidden_size % self.head_width:
            raise ValueError(
                f"Expected head_width to divide the {self.hidden_size} channels of the attention pool (32 * width), "
                f"got {self.head_width}."
            )

    @property
    def hidden_size(self) -> int:
        """Number of channels of the last stage."""
        return 32 * self.width

    @property
    def num_attention_heads(self) -> int:
        """Number of heads of the attention pool."""
        return self.hidden_size // self.head_width

    @property
    def num_hidden_layers(self) -> int:
        """Number of stages, each of which returns a hidden state."""
        return len(self.layers)


@strict
class ClipResNetConfig(PreTrainedConfig):
    r"""Configuration of a CLIP with a ResNet as image tower; the defaults are those of RN50.

    text_config (`CLIPTextConfig` or `dict`, *optional*):
        Configuration of the text tower.
    vision_config (`ClipResNetVisionConfig` or `dict`, *optional*):
        Configuration of the image tower.
    projection_dim (`int`, *optional*):
        Size of image and text features, which is `output_dim` of the image tower.
    logit_scale_init_value (`float`, *optional*, defaults to 2.6592):
        Initial value of the logarithm of the temperature.

    Example:
        ```python
        >>> from hf_prompt_models import ClipResNetConfig
        >>> config = ClipResNetConfig()  # RN50
        >>> config.vision_config.layers, config.projection_dim
        ([3, 4, 6, 3], 1024)

        ```
    """

    model_type = "clip_resnet"
    sub_configs_defaults: ClassVar[dict] = {
        "text_config": SubConfigSpec(CLIPTextConfig),
        "vision_config": SubConfigSpec(ClipResNetVisionConfig),
    }

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    projection_dim: int | None = None
    logit_scale_init_value: float | int = 2.6592

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        vision: PreTrainedConfig = self.vision_config
        if self.projection_dim is None:
            self.projection_dim = vision.output_dim

    def validate_architecture(self) -> None:
        """Check the sizes, as part of the `@strict` validation."""
        vision: PreTrainedConfig = self.vision_config
        if self.projection_dim != vision.output_dim:
            raise ValueError(
                f"Expected projection_dim to be that of image features, {vision.output_dim}, got "
                f"{self.projection_dim}. Leave it out, or set vision_config.output_dim to it."
            )


__all__ = ["ClipResNetConfig", "ClipResNetVisionConfig"]
