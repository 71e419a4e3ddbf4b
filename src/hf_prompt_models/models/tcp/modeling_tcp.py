"""TCP: context tokens made from each class's name (arXiv 2311.18231, §3.2; `trainers/tcp.py`)."""

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
    config: TCPConfig
    processor_class = TCPProcessor
    needs_causal_text = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MetaNetPromptLearner):
            module.initialize()


class TCPForImageClassification(TCPPreTrainedModel):
    """Image classification with a context that gives way to tokens of the class's own inside the text tower.

    The tokens are made from the frozen backbone's feature of the class, at new classes from their names. The loss is
    KgCoOp's.
    """

    def __init__(self, config: TCPConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        text_config = self.clip.text_model.config
        if not 0 <= config.class_token_layer < text_config.num_hidden_layers:
            raise ValueError(
                f"class_token_layer={config.class_token_layer} does not fit the backbone: its text tower has "
                f"{text_config.num_hidden_layers} layers, counted from 0. Pass a number below that."
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
            name_or_path: Hub id or folder of the backbone.
            class_names: one name a class, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of context vectors, and of a class's tokens.
            class_token_layer: the layer of the text tower, counted from 0, at whose input they replace the context.
            knowledge_weight: weight of the distance from the teacher.
            prompt_template: what follows the context, such as "{}, a type of pet.".
            templates: the teacher's hand-written prompts; of several the mean. Default: "a photo of a {}.".
            text_chunk_size: prompts to encode at a time in training, where memory is short.
            tokenizer: the backbone's tokenizer or processor, where it is not in the backbone's folder.
            kwargs: for the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: for a layer that the text tower does not have, a template without `{}`, or a name that is too
                long for the text tower.
            TypeError: if the backbone is of another type.
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
        # With virtual tokens of each class's own, which it needs from `class_token_layer` on.
        n_ctx, prompts = self.config.n_ctx, []
        for index, ids in enumerate(self.class_token_ids()):
            first = self.vocab_size + index * n_ctx
            prompts.append(insert_context(ids, 0, range(first, first + n_ctx), "end", self.backbone_type.start_tokens))
        return prompts

    @property
    def context(self) -> torch.Tensor:
        return self.prompt_learner.context.expand(self.config.num_labels, -1, -1)

    @property
    def layer_context(self) -> Mapping[int, torch.Tensor]:
        tokens = self.prompt_learner.meta_net(self.get_teacher_features())
        return {self.config.class_token_layer: tokens.unflatten(-1, (self.config.n_ctx, -1))}

    def learned_text_tensors(self) -> list[torch.Tensor]:
        # The class tokens are made from the teacher's features, which are kept as long as they stay the same.
        return [*self.prompt_learner.parameters(), self.get_teacher_features()]

    def prompt_fields(self) -> tuple[Any, ...]:
        return *super().prompt_fields(), self.config.class_token_layer


__all__ = ["TCPForImageClassification", "TCPPreTrainedModel"]
