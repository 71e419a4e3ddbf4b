"""TCP: context tokens made from the class names (arXiv 2311.18231, §3.2; reference code `trainers/tcp.py`)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.modeling_context_utils import KnowledgeGuidedModel, MetaNetPromptLearner
from hf_prompt_models.models.tcp.configuration_tcp import TCPConfig
from hf_prompt_models.models.tcp.processing_tcp import TCPProcessor
from hf_prompt_models.prompts.context import insert_context
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, check_templates


class TCPPreTrainedModel(KnowledgeGuidedModel):
    """Base class of TCP models, with weight initialisation and the processor class."""

    config: TCPConfig
    processor_class = TCPProcessor
    needs_causal_text = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MetaNetPromptLearner):
            module.initialize()


class TCPForImageClassification(TCPPreTrainedModel):
    """Image classification with a context that class tokens replace inside the text tower (TCP).

    The class tokens are made from the class features of the frozen backbone, also for new classes, which need only
    names. The loss is that of KgCoOp.
    """

    def __init__(self, config: TCPConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        text_config = self.clip.text_model.config
        if not 0 <= config.class_token_layer < text_config.num_hidden_layers:
            raise ValueError(
                f"class_token_layer={config.class_token_layer} does not fit the backbone, whose text encoder "
                f"has {text_config.num_hidden_layers} layers, counted from 0. Pass a smaller number."
            )
        # From class features, (classes, dim), to tokens, (classes, n_ctx * width).
        n_ctx, width, dim = config.n_ctx, text_config.hidden_size, self.image_feature_size
        self.prompt_learner = MetaNetPromptLearner(n_ctx, width, dim, max(dim // 4, 1), n_ctx * width, "quick_gelu")
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 4,
        class_token_layer: int = 8,
        knowledge_weight: float = 8.0,
        prompt_template: str = "{}.",
        templates: Sequence[str] | None = None,
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a new prompt for a pretrained CLIP.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of context vectors, and of tokens per class.
            class_token_layer: layer of the text tower, counted from 0, at whose input the class tokens replace the
                context.
            knowledge_weight: weight in the loss of the distance between the class features and the teacher's.
            prompt_template: template of the text after the context, such as "{}, a type of pet.".
            templates: hand-written prompts of the teacher, which averages its features over them. Default:
                "a photo of a {}.".
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if the text tower does not have the layer, a template does not contain `{}`, or a name is too
                long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> from hf_prompt_models import TCPForImageClassification
            >>> names = ["a red key", "a blue cup", "a green bell"]
            >>> model = TCPForImageClassification.from_backbone("playground", names, n_ctx=4, class_token_layer=1)
            >>> {layer: tuple(tokens.shape) for layer, tokens in model.layer_context.items()}
            {1: (3, 4, 64)}

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            class_token_layer=class_token_layer,
            knowledge_weight=knowledge_weight,
            prompt_template=check_templates([prompt_template])[0],
            templates=check_templates([DEFAULT_TEMPLATE] if templates is None else templates),
            text_chunk_size=text_chunk_size,
        )

    @classmethod
    def _prompt_text(cls, config: TCPConfig) -> str:
        return config.prompt_template

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        # Each class has its own virtual tokens, because they differ between classes from `class_token_layer` on.
        n_ctx, prompts = self.config.n_ctx, []
        for index, ids in enumerate(self.class_token_ids()):
            first = self.vocab_size + index * n_ctx
            prompts.append(insert_context(ids, 0, range(first, first + n_ctx), "end", self.backbone_type.start_tokens))
        return prompts

    @property
    def context(self) -> torch.Tensor:
        """Learned context, expanded to all classes, (classes, n_ctx, hidden size)."""
        return self.prompt_learner.context.expand(self.config.num_labels, -1, -1)

    @property
    def layer_context(self) -> Mapping[int, torch.Tensor]:
        """Class tokens, (classes, n_ctx, hidden size), by the layer at whose input they replace the context."""
        tokens = self.prompt_learner.meta_net(self.get_teacher_features())
        return {self.config.class_token_layer: tokens.unflatten(-1, (self.config.n_ctx, -1))}

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the trained tensors outside of the backbone that the class features depend on."""
        # The class tokens are made from the teacher's features, which are cached as long as nothing changes them.
        return [*self.prompt_learner.parameters(), self.get_teacher_features()]

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        return *super().prompt_fields(), self.config.class_token_layer


__all__ = ["TCPForImageClassification", "TCPPreTrainedModel"]
