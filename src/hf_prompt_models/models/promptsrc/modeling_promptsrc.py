"""PromptSRC: self-regulating deep prompts in both towers (arXiv 2307.06948; `trainers/promptsrc.py`)."""

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
    """Base class of PromptSRC models, with weight initialisation and the processor class."""

    config: PromptSRCConfig
    processor_class = PromptSRCProcessor
    uses_teacher = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DeepPromptLearner):
            module.initialize()


class PromptSRCForImageClassification(PromptSRCPreTrainedModel):
    """Image classification with deep prompts that are kept close to the features and predictions of the backbone.

    The loss of PromptSRC adds three terms to the cross-entropy: the mean absolute differences of the class features
    and of the image features from those without prompts, and the KL divergence from the teacher's probabilities,
    divided by images * classes.
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

        A context of at most 4 vectors is initialised from the first words of "a photo of a", and the remaining words
        stay in the prompt, frozen. A longer context is initialised at random.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of prompts in each tower.
            prompt_depth: number of layers with prompts, in both towers.
            text_weight: weight of the difference between the class features and the teacher's.
            image_weight: weight of the difference between the image features and those without prompts.
            logits_weight: weight of the divergence from the teacher's probabilities.
            templates: hand-written prompts of the teacher. Default: the 60 of the released code.
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if the depth exceeds the number of layers of a tower, a template does not contain `{}`, or a
                name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import PromptSRCForImageClassification
            >>> names = ["a red key", "a blue cup"]
            >>> model = PromptSRCForImageClassification.from_backbone("playground", names, prompt_depth=3)
            >>> output = model.train()(pixel_values=torch.randn(2, 3, 48, 48), labels=torch.tensor([0, 1]))
            >>> list(output.loss_terms)
            ['cross_entropy', 'text', 'image', 'logits']

            ```
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
        """Return the weight of each of `loss_terms` in the loss."""
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
        """Return the terms of the loss by name, without their weights."""
        terms = super().loss_terms(logits, labels, images, text_embeds, pixel_values)
        plain, teacher = self.get_plain_image_features(pixel_values), self.get_teacher_features()
        return terms | {
            "text": mean_absolute_difference(text_embeds, teacher),
            "image": mean_absolute_difference(images.pooler_output, plain),
            "logits": kl_divergence(logits, self.class_logits(plain, teacher), divisor=logits.numel()),
        }


__all__ = ["PromptSRCForImageClassification", "PromptSRCPreTrainedModel"]
