"""CoCoOp: context that depends on the image (arXiv 2203.05557, §3.2; reference code `trainers/cocoop.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_context_utils import ContextPromptModel, MetaNetPromptLearner
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.cocoop.configuration_cocoop import CoCoOpConfig
from hf_prompt_models.models.cocoop.processing_cocoop import CoCoOpProcessor
from hf_prompt_models.utils.forward_options import asks_for_states, captured, forward_options


class CoCoOpPreTrainedModel(ContextPromptModel):
    """Base class of CoCoOp models, with weight initialisation and the processor class."""

    config: CoCoOpConfig
    processor_class = CoCoOpProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MetaNetPromptLearner):
            module.initialize()


class CoCoOpForImageClassification(CoCoOpPreTrainedModel):
    """Image classification with a learned context that is conditioned on the image (CoCoOp).

    A small network computes from the image feature a shift of the context, so all classes are encoded again for each
    image. They form one packed row, whose classes share the shifted context.
    """

    def __init__(self, config: CoCoOpConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        # From image features, (batch, dim), to shifts of the context, (batch, width).
        width, dim = self.clip.text_model.config.hidden_size, self.image_feature_size
        self.prompt_learner = MetaNetPromptLearner(config.n_ctx, width, dim, max(dim // 16, 1), width, "relu")
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 4,
        context_init: str | None = "a photo of a",
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a new prompt for a pretrained CLIP.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of context vectors if they are initialised at random.
            context_init: words that initialise the context; their number of tokens replaces `n_ctx`. `None` for random
                initialisation.
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if a name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import CoCoOpForImageClassification
            >>> names = ["a red key", "a blue cup", "a green bell"]
            >>> model = CoCoOpForImageClassification.from_backbone("playground", names)
            >>> model.get_text_features(torch.randn(2, 64)).pooler_output.shape  # (images, classes, dim)
            torch.Size([2, 3, 64])

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            context_init=context_init,
            text_chunk_size=text_chunk_size,
        )

    compares_fixed_features = False
    is_linear_in_image_embeds = False
    compares_fixed_text = False

    @forward_options
    def get_text_features(
        self, image_embeds: torch.Tensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Return the class features of each image: `.pooler_output`, (batch, classes, dim), L2-normalised.

        Args:
            image_embeds: (batch, dim) image features, normalised or not.
            kwargs: `output_hidden_states` and `output_attentions` of the text tower, with a row for each class of each
                image; `return_dict`.

        Raises:
            ValueError: if no image features are given.
        """
        if image_embeds is None:
            raise ValueError(
                "The class features of CoCoOp depend on the image. Pass image_embeds of shape (batch, dim), "
                "as returned by get_image_features(...).pooler_output."
            )
        shifts = self.prompt_learner.meta_net(F.normalize(image_embeds.to(self.prompt_learner.context.dtype), dim=-1))
        context = self.prompt_learner.context + shifts[:, None]
        count = image_embeds.shape[0]  # not len(), which would fix the batch size of an exported model
        if asks_for_states(kwargs):
            rows = self._prompts_apart().repeat(count, self.vocab_size, self.config.n_ctx)
            outputs: Any = self._run_prompts_apart(rows, context, captured(kwargs))
        else:
            rows = self._laid_out_prompts()[1].repeat(count, self.vocab_size, self.config.n_ctx)
            outputs = BaseModelOutputWithPooling(pooler_output=self._encode_prompts(rows, context))
        features = F.normalize(at_least_float32(outputs.pooler_output), dim=-1)
        outputs.pooler_output = features.unflatten(0, (count, -1))
        return outputs

    def image_text_features(self, image_embeds: torch.Tensor) -> torch.Tensor:
        """Return the class features of each image, (batch, classes, dim), L2-normalised."""
        return self.get_text_features(
            image_embeds, output_hidden_states=False, output_attentions=False, return_dict=True
        ).pooler_output

    def class_logits(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, classes).

        Args:
            image_embeds: (batch, dim) image features, L2-normalised.
            text_embeds: (batch, classes, dim) class features of each image, L2-normalised.
        """
        with torch.autocast(image_embeds.device.type, enabled=False):
            logits = self.similarity_scale() * torch.einsum("bd,bcd->bc", image_embeds, text_embeds)
        return logits + at_least_float32(self.clip.logit_bias) if self.backbone_type.has_logit_bias else logits


__all__ = ["CoCoOpForImageClassification", "CoCoOpPreTrainedModel"]
