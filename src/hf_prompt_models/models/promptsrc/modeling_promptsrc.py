"""PromptSRC: deep prompts of both towers that regulate themselves (arXiv 2307.06948; `trainers/promptsrc.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptLearner, DeepPromptModel
from hf_prompt_models.models.promptsrc.configuration_promptsrc import PromptSRCConfig
from hf_prompt_models.models.promptsrc.processing_promptsrc import PromptSRCProcessor
from hf_prompt_models.prompts.regularization import kl_divergence, mean_absolute_difference
from hf_prompt_models.prompts.templates import PROMPTSRC_TEMPLATES, check_templates


class PromptSRCPreTrainedModel(DeepPromptModel):
    config: PromptSRCConfig
    processor_class = PromptSRCProcessor
    uses_teacher = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DeepPromptLearner):
            module.initialize()


class PromptSRCForImageClassification(PromptSRCPreTrainedModel):
    """Image classification with deep prompts that stay near to the backbone's features and answers.

    The loss adds to the cross-entropy the mean absolute differences of the class features and of the image features
    from those without prompts, and the KL divergence from the teacher's probabilities over images times classes.
    """

    def __init__(self, config: PromptSRCConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        depth = config.prompt_depth
        self.prompt_learner = self.build_prompt_learner(
            depth, config.n_ctx, depth, ("prompt_depth", "prompt_depth"), 1
        )
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 4,
        prompt_depth: int = 9,
        text_weight: float = 25.0,
        image_weight: float = 10.0,
        logits_weight: float = 1.0,
        templates: Sequence[str] | None = None,
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make new prompts for a pretrained CLIP.

        A context of at most 4 vectors starts from the first words of "a photo of a", and the other words stay in the
        prompt, frozen. A longer one starts at random.

        Args:
            name_or_path: Hub id or folder of the backbone.
            class_names: one name a class, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of prompts in each tower.
            prompt_depth: number of layers with prompts, in both towers.
            text_weight, image_weight, logits_weight: weights of the three terms beside the cross-entropy.
            templates: the teacher's hand-written prompts. Default: the released code's 60.
            text_chunk_size: prompts to encode at a time in training, where memory is short.
            tokenizer: the backbone's tokenizer or processor, where it is not in the backbone's folder.
            kwargs: for the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: for a depth that a tower does not have, a template without `{}`, or a name that is too long for
                the text tower.
            TypeError: if the backbone is of another type.
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            prompt_depth=prompt_depth,
            text_weight=text_weight,
            image_weight=image_weight,
            logits_weight=logits_weight,
            templates=check_templates(PROMPTSRC_TEMPLATES if templates is None else templates),
            text_chunk_size=text_chunk_size,
        )

    def loss_weights(self) -> dict[str, float]:
        config = self.config
        weights = {"text": config.text_weight, "image": config.image_weight, "logits": config.logits_weight}
        return super().loss_weights() | weights

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        terms = super().loss_terms(logits, labels, images, text_embeds, pixel_values)
        plain, teacher = self.get_plain_image_features(pixel_values), self.get_teacher_features()
        return terms | {
            "text": mean_absolute_difference(text_embeds, teacher),
            "image": mean_absolute_difference(images.pooler_output, plain),
            "logits": kl_divergence(logits, self.class_logits(plain, teacher), divisor=logits.numel()),
        }


__all__ = ["PromptSRCForImageClassification", "PromptSRCPreTrainedModel"]
