"""Frozen: a vision backbone learns to prompt a language model that never changes (arXiv 2106.13884, section 3)."""

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
    """One vector an image, mapped to all of its slots at once."""

    def __init__(self, num_image_tokens: int, in_features: int, out_features: int):
        super().__init__()
        self.num_image_tokens = num_image_tokens
        self.linear = nn.Linear(in_features, num_image_tokens * out_features)

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        """(images, channels, rows, columns) to (images, num_image_tokens, dim)."""
        return self.linear(feature_map.mean(dim=(2, 3))).unflatten(-1, (self.num_image_tokens, -1))


class FrozenPreTrainedModel(PrefixLMModel):
    config: FrozenConfig
    processor_class = FrozenProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # The layer itself: transformers does not ask about modules that hold no parameter of their own.
        if module is self.image_projection.linear:
            init.normal_(module.weight, mean=0.0, std=0.02)
            init.zeros_(module.bias)


class FrozenForConditionalGeneration(FrozenPreTrainedModel, GenerationMixin):
    """Answers in words about images anywhere in a text, from a few examples in front of the question.

    The paper's language model has relative positions, so that images may stand where none stood in training. GPT-J,
    Pythia, Llama (rotary) and BLOOM (ALiBi) have them too; GPT-2 and OPT (absolute) train as well, and are worse at
    interleaved examples.
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
        """A new vision side for a language model that stays as it is.

        Args:
            language_model: Hub id or folder of any causal language model; "playground" is the tiny one in this
                package.
            vision_model: Hub id or folder of any model that takes images. Default: microsoft/resnet-50, for the
                paper's NF-ResNet-50 is not in transformers; with the packaged language model the tiny CLIP in this
                package, "playground".
            num_image_tokens: slots that an image takes.
            vision_from_scratch: take the vision backbone's configuration alone, with new weights. The paper does so,
                with 3 million captions to train on.
            freeze_vision: train the projection alone.
            kwargs: for the language model's `from_pretrained`: `revision`, `dtype`, `device_map`,
                `attn_implementation`, …; `token`, `cache_dir` and the like for both.

        Raises:
            OSError: if there is no such backbone.
            TypeError: if one is no causal language model, or takes no images.
            ValueError: if the tokenizer has no end token.
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
