"""Model with a learned context whose norm is kept small."""

from typing import Any

import torch
from anchored_prompts.anchored.configuration_anchored import AnchoredConfig
from anchored_prompts.anchored.processing_anchored import AnchoredProcessor
from torch import nn
from transformers import initialization as init

from hf_prompt_models.modeling_context_utils import ContextPromptModel
from hf_prompt_models.prompts.context import LearnableContext


class AnchoredForImageClassification(ContextPromptModel):
    """Image classification with a learned context whose squared length is part of the loss."""

    config: AnchoredConfig
    processor_class = AnchoredProcessor

    def __init__(self, config: AnchoredConfig, backbone: Any = None):
        super().__init__(config, backbone)
        self.prompt_learner = LearnableContext(config.n_ctx, self.clip.text_model.config.hidden_size)
        self.post_init()
        self.freeze_backbone()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LearnableContext):
            init.normal_(module.context, mean=0.0, std=0.02)

    def loss_weights(self) -> dict[str, float]:
        return super().loss_weights() | {"anchor": self.config.anchor_weight}

    def loss_terms(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        return super().loss_terms(*args, **kwargs) | {"anchor": self.prompt_learner.context.pow(2).mean()}

    @classmethod
    def from_backbone(cls, name_or_path: Any, class_names: Any, tokenizer: Any = None, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in ("n_ctx", "anchor_weight", "text_chunk_size") if name in kwargs}
        return cls._from_backbone(name_or_path, class_names, tokenizer, kwargs, **fields)
