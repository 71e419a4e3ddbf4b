"""Frozen: a vision backbone trained to prompt a frozen language model (arXiv 2106.13884, section 3)."""

import os
from typing import Any, Self

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init

from hf_prompt_models.models.frozen.configuration_frozen import FrozenConfig
from hf_prompt_models.models.frozen.processing_frozen import FrozenProcessor
from hf_prompt_models.prefix_lm.modeling_prefix_lm import PrefixLMModel
from hf_prompt_models.prefix_lm.vision import feature_width


class FrozenImageProjection(nn.Module):
    """Map one feature vector per image to all of its slots with a single linear layer."""

    def __init__(self, num_image_tokens: int, in_features: int, out_features: int):
        super().__init__()
        self.num_image_tokens = num_image_tokens
        self.linear = nn.Linear(in_features, num_image_tokens * out_features)

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Map features (images, channels, rows, columns) to slots (images, num_image_tokens, dim)."""
        return self.linear(feature_map.mean(dim=(2, 3))).unflatten(-1, (self.num_image_tokens, -1))


class FrozenPreTrainedModel(PrefixLMModel):
    """Base of the Frozen models: the processor class and the initialisation of new weights."""

    config: FrozenConfig
    processor_class = FrozenProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Compare with the layer itself: transformers does not pass modules without parameters of their own.
        if module is self.image_projection.linear:
            init.normal_(module.weight, mean=0.0, std=0.02)
            init.zeros_(module.bias)


class FrozenForConditionalGeneration(FrozenPreTrainedModel, GenerationMixin):
    """Generate text about images that may be anywhere in a prompt, given a few examples in front of the question.

    The language model in the paper has relative positions, so images can be at positions where there was none in
    training. GPT-J, Pythia, Llama (rotary) and BLOOM (ALiBi) have them, too. GPT-2 and OPT (absolute positions) can be
    trained as well, but are worse with interleaved examples.
    """

    def __init__(self, config: FrozenConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        width = feature_width(config.vision_config)
        self.image_projection = FrozenImageProjection(config.num_image_tokens, width, self.token_dim)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None = None,
        num_image_tokens: int = 2,
        vision_from_scratch: bool = False,
        freeze_vision: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Create a new vision side for a language model that stays frozen.

        Args:
            language_model: Hub id or folder of any causal language model; "playground" is the tiny one in this
                package.
            vision_model: Hub id or folder of any model that takes images. Default: microsoft/resnet-50, because the
                paper's NF-ResNet-50 is not in transformers. With the language model in this package the default is
                "playground", the tiny CLIP in this package.
            num_image_tokens: number of slots that an image takes.
            vision_from_scratch: whether to use only the configuration of the vision backbone, with new weights. The
                paper does so, and trains on 3 million captions.
            freeze_vision: whether to train only the projection.
            kwargs: arguments of the language model's `from_pretrained` (`revision`, `dtype`, `device_map`,
                `attn_implementation`, …). `token`, `cache_dir` and similar ones apply to both models.

        Raises:
            OSError: if there is no such backbone.
            TypeError: if `language_model` is not a causal language model, or `vision_model` does not take images.
            ValueError: if the tokenizer has no end token.

        Example:
            ```python
            >>> from hf_prompt_models import FrozenForConditionalGeneration
            >>> model = FrozenForConditionalGeneration.from_backbone("playground", freeze_vision=True)
            >>> {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
            {'image_projection'}

            ```
        """
        return cls._from_backbones(
            language_model,
            vision_model,
            kwargs,
            num_image_tokens=num_image_tokens,
            vision_from_scratch=vision_from_scratch,
            freeze_vision=freeze_vision,
        )

    def _trains_batch_norm(self) -> bool:
        return self.config.vision_from_scratch


__all__ = ["FrozenForConditionalGeneration", "FrozenPreTrainedModel"]
