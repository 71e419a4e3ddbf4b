"""KgCoOp: learned context kept close to hand-written prompts (arXiv 2303.13283; `trainers/kgcoop.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init

from hf_prompt_models.modeling_context_utils import KnowledgeGuidedModel
from hf_prompt_models.models.kgcoop.configuration_kgcoop import KgCoOpConfig
from hf_prompt_models.models.kgcoop.processing_kgcoop import KgCoOpProcessor
from hf_prompt_models.prompts.context import LearnableContext
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, check_templates


class KgCoOpPreTrainedModel(KnowledgeGuidedModel):
    """Base class of KgCoOp models, with weight initialisation and the processor class."""

    config: KgCoOpConfig
    processor_class = KgCoOpProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LearnableContext):
            init.normal_(module.context, mean=0.0, std=0.02)


class KgCoOpForImageClassification(KgCoOpPreTrainedModel):
    """Image classification with a learned context that is kept close to a hand-written prompt (KgCoOp).

    The loss is the cross-entropy plus `knowledge_weight` * (1 - c), where c is the mean cosine similarity between the
    class features and those of the frozen backbone on `templates`.
    """

    def __init__(self, config: KgCoOpConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self.prompt_learner = LearnableContext(config.n_ctx, self.clip.text_model.config.hidden_size)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 4,
        context_init: str | None = "a photo of a",
        knowledge_weight: float = 8.0,
        templates: Sequence[str] | None = None,
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
            knowledge_weight: weight in the loss of the distance between the class features and the teacher's.
            templates: hand-written prompts of the teacher, which averages its features over them. Default:
                "a photo of a {}.".
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if a template does not contain `{}`, or a name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> from hf_prompt_models import KgCoOpForImageClassification
            >>> model = KgCoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
            >>> model.prompt_learner.context.shape
            torch.Size([4, 64])

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            context_init=context_init,
            knowledge_weight=knowledge_weight,
            templates=check_templates([DEFAULT_TEMPLATE] if templates is None else templates),
            text_chunk_size=text_chunk_size,
        )


__all__ = ["KgCoOpForImageClassification", "KgCoOpPreTrainedModel"]
