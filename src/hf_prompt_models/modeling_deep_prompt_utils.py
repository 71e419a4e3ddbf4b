"""Deep prompts in both towers of a CLIP, the common base of IVLP, MaPLe and PromptSRC.

A prompt of depth J is inserted into the input of layers 0 to J - 1 of a tower. From layer 1 on it replaces the output
of the previous layer at the positions of the prompt (MaPLe, arXiv 2210.03117, §3.2; `clip/model.py` of its
repository).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_context_utils import ContextPromptConfig, ContextPromptModel, tokenize_words
from hf_prompt_models.prompts.image_encoding import encode_with_appended_prompts
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE
from hf_prompt_models.utils.forward_options import captured, forward_options


START_WORDS = "a photo of a"
"""Words that initialise a context of at most 4 vectors. The words past its length stay in the prompt, frozen."""


@strict
class DeepPromptConfig(ContextPromptConfig):
    r"""Base class of the configurations of methods with deep prompts.

    Attributes:
        frozen_context_ids (`list[int]`, *optional*):
            Token ids of the words between the context and the class name, which are not trained.
    """

    frozen_context_ids: list[int] | None = None

    @property
    def text_prompt_depth(self) -> int:
        """Number of layers of the text tower with prompts."""
        raise NotImplementedError

    @property
    def vision_prompt_depth(self) -> int:
        """Number of layers of the image tower with prompts."""
        raise NotImplementedError


class DeepPromptModel(ContextPromptModel):
    """Base class of methods with prompts in several layers of the text tower, the image tower, or both."""

    config: DeepPromptConfig
    needs_causal_text = True

    def build_prompt_learner(
        self, text_depth: int, n_vision_ctx: int, vision_depth: int, names: tuple[str, str], least: int = 0
    ) -> "DeepPromptLearner":
        """Return new prompts for both towers.

        Args:
            text_depth: number of layers of the text tower with prompts.
            n_vision_ctx: number of prompts in the image tower.
            vision_depth: number of layers of the image tower with prompts.
            names: names of both depths in error messages.
            least: smallest depth that is allowed.

        Raises:
            ValueError: if a tower has too few layers.
        """
        text, vision = self.clip.text_model.config, self.clip.vision_model.config
        check_depth(names[0], text_depth, text.num_hidden_layers, "text", least)
        check_depth(names[1], vision_depth, vision.num_hidden_layers, "image", least)
        text_shape = self.config.n_ctx, text_depth, text.hidden_size
        return DeepPromptLearner(*text_shape, n_vision_ctx, vision_depth, vision.hidden_size)

    @classmethod
    def _tokenize_classes(
        cls, config: Any, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Any]:
        words = tokenize_words(START_WORDS, tokenizer)
        config.frozen_context_ids = words[config.n_ctx :]
        fields = super()._tokenize_classes(config, class_names, tokenizer)
        return fields | {"frozen_context_ids": config.frozen_context_ids}

    @classmethod
    def _prompt_text(cls, config: DeepPromptConfig) -> str:
        return super()._prompt_text(config) if config.text_prompt_depth else DEFAULT_TEMPLATE

    @classmethod
    def _num_added_tokens(cls, config: DeepPromptConfig) -> int:
        return config.n_ctx + len(config.frozen_context_ids or []) if config.text_prompt_depth else 0

    @torch.no_grad()
    def _start_from_words(self, tokenizer: PreTrainedTokenizerBase) -> None:
        words, n_ctx = tokenize_words(START_WORDS, tokenizer), self.config.n_ctx
        if self.context is not None and n_ctx <= len(words):
            self.context.copy_(self._embed_words(words[:n_ctx]))

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        return *super().prompt_fields(), tuple(self.config.frozen_context_ids or ()), self.config.text_prompt_depth

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        if not self.config.text_prompt_depth:
            return self.class_token_ids()
        frozen = self.config.frozen_context_ids or []
        context = [*range(self.vocab_size, self.vocab_size + self.config.n_ctx), *frozen]
        return [[ids[0], *context, *ids[1:]] for ids in self.class_token_ids()]

    @property
    def needs_class_token(self) -> bool:
        """Whether the model puts prompts next to the class token of the image tower."""
        return self.config.vision_prompt_depth > 0

    # -- prompts by layer --------------------------------------------------------------------------------------------

    @property
    def layer_context(self) -> Mapping[int, torch.Tensor]:
        """Deep prompts of the text tower, by the layer whose input they are put into."""
        deep = self.prompt_learner.deep_context
        return {} if deep is None else dict(enumerate(deep, 1))

    def vision_prompts(self) -> list[torch.Tensor]:
        """Return the prompts of the image tower by layer, each (number of prompts, hidden size)."""
        return self.prompt_learner.vision_prompts()

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the trained tensors outside of the backbone that the class features depend on."""
        tensors = (self.prompt_learner.context, self.prompt_learner.deep_context)
        return [tensor for tensor in tensors if tensor is not None]

    @property
    def has_fixed_image_features(self) -> bool:
        """Whether training leaves the image features unchanged, so that they can be computed once."""
        return not self.config.vision_prompt_depth

    @forward_options
    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the image features of the tower with prompts: `.pooler_output`, (batch, dim), L2-normalised.

        Args:
            pixel_values: (batch, 3, height, width)
            pixel_attention_mask: not supported; it belongs to NaFlex backbones, which have no class token.
            spatial_shapes: not supported, for the same reason.
            pooled_only: whether to compute only `.pooler_output`, for which the last layer needs less time.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        if not self.config.vision_prompt_depth:
            return super().get_image_features(
                pixel_values, pixel_attention_mask, spatial_shapes, pooled_only, **kwargs
            )
        self.check_pixels(pixel_values, pixel_attention_mask, spatial_shapes)
        outputs: Any = encode_with_appended_prompts(
            self.clip.vision_model,
            pixel_values,
            self.vision_prompts(),
            num_read=1 if pooled_only else None,
            **captured(kwargs),
        )
        outputs.pooler_output = self.normalized_image_features(outputs.pooler_output)
        return outputs


class DeepPromptLearner(nn.Module):
    """Independent prompts of both towers.

    Args:
        n_ctx: number of prompts in the text tower.
        depth: number of layers of the text tower with prompts.
        width: hidden size of the text tower.
        n_vision_ctx: number of prompts in the image tower.
        vision_depth: number of layers of the image tower with prompts.
        vision_width: hidden size of the image tower.

    Attributes:
        context: (n_ctx, width), or `None` at depth 0.
        deep_context: (depth - 1, n_ctx, width), or `None` at depth 0 or 1.
        vision_context: (n_vision_ctx, vision_width), or `None` at depth 0.
        deep_vision_context: (vision_depth - 1, n_vision_ctx, vision_width), or `None` at depth 0 or 1.
    """

    def __init__(
        self, n_ctx: int, depth: int, width: int, n_vision_ctx: int = 0, vision_depth: int = 0, vision_width: int = 0
    ):
        super().__init__()
        self.context = new_prompt(depth > 0, n_ctx, width)
        self.deep_context = new_prompt(depth > 1, depth - 1, n_ctx, width)
        self.vision_context = new_prompt(vision_depth > 0, n_vision_ctx, vision_width)
        self.deep_vision_context = new_prompt(vision_depth > 1, vision_depth - 1, n_vision_ctx, vision_width)

    def vision_prompts(self) -> list[torch.Tensor]:
        """Return the prompts of the image tower by layer, each (n_vision_ctx, vision_width)."""
        first = [] if self.vision_context is None else [self.vision_context]
        return [*first, *(() if self.deep_vision_context is None else self.deep_vision_context)]

    def initialize(self) -> None:
        """Initialise all prompts from a normal distribution with standard deviation 0.02."""
        for parameter in self.parameters():
            init.normal_(parameter, mean=0.0, std=0.02)


def new_prompt(is_there: bool, *shape: int) -> nn.Parameter | None:
    """Return an uninitialised parameter of the given shape, or `None` if `is_there` is false."""
    return nn.Parameter(torch.empty(shape)) if is_there else None


def check_depth(name: str, depth: int, num_layers: int, tower: str, least: int = 0) -> None:
    """Check that a tower has enough layers for prompts of a given depth.

    Args:
        name: name of the depth in the error message.
        depth: number of layers with prompts.
        num_layers: number of layers of the tower.
        tower: name of the tower in the error message.
        least: smallest depth that is allowed.

    Raises:
        ValueError: if it has not. The message contains the argument and the number of layers.
    """
    if not least <= depth <= num_layers:
        raise ValueError(
            f"{name}={depth} does not fit the backbone: its {tower} encoder has {num_layers} layers. Pass a "
            f"number from {least} to {num_layers}."
        )
