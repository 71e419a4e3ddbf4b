"""MaPLe: image prompts projected from the text prompts (arXiv 2210.03117; reference code `trainers/maple.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init

from hf_prompt_models.modeling_context_utils import init_linear
from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptModel, check_depth, new_prompt
from hf_prompt_models.models.maple.configuration_maple import MaPLeConfig
from hf_prompt_models.models.maple.processing_maple import MaPLeProcessor


class MaPLePromptLearner(nn.Module):
    """Prompts of the text tower, and the projections that map them to prompts of the image tower.

    Args:
        n_ctx: number of prompts.
        depth: number of layers with prompts.
        width: hidden size of the text tower.
        vision_width: hidden size of the image tower.

    Attributes:
        context: (n_ctx, width)
        deep_context: (depth - 1, n_ctx, width), or `None` at depth 1.
        projections: linear layers. The first one maps `context`, and projection i maps `deep_context[i - 1]`.
    """

    def __init__(self, n_ctx: int, depth: int, width: int, vision_width: int):
        super().__init__()
        self.context = new_prompt(True, n_ctx, width)
        self.deep_context = new_prompt(depth > 1, depth - 1, n_ctx, width)
        self.projections = nn.ModuleList(nn.Linear(width, vision_width) for _ in range(depth))

    def vision_prompts(self) -> list[torch.Tensor]:
        """Return the prompts of the image tower by layer, each (n_ctx, vision_width)."""
        contexts = [self.context, *(() if self.deep_context is None else self.deep_context)]
        return [projection(context) for projection, context in zip(self.projections, contexts, strict=True)]

    def initialize(self) -> None:
        """Initialise the parameters as the released code does: the projections after the second are copies of it."""
        init.normal_(self.context, mean=0.0, std=0.02)
        if self.deep_context is not None:
            init.normal_(self.deep_context, mean=0.0, std=0.02)
        for projection in self.projections[:2]:
            init_linear(projection)
        for projection in self.projections[2:]:
            init.copy_(projection.weight, self.projections[1].weight)
            init.copy_(projection.bias, self.projections[1].bias)


class MaPLePreTrainedModel(DeepPromptModel):
    """Base class of MaPLe models, with weight initialisation and the processor class."""

    config: MaPLeConfig
    processor_class = MaPLeProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MaPLePromptLearner):
            module.initialize()


class MaPLeForImageClassification(MaPLePreTrainedModel):
    """Image classification with deep prompts in both towers, coupled by one linear layer per depth (MaPLe)."""

    def __init__(self, config: MaPLeConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        text, vision = self.clip.text_model.config, self.clip.vision_model.config
        for tower, layers in (("text", text.num_hidden_layers), ("image", vision.num_hidden_layers)):
            check_depth("prompt_depth", config.prompt_depth, layers, tower, least=1)
        self.prompt_learner = MaPLePromptLearner(
            config.n_ctx, config.prompt_depth, text.hidden_size, vision.hidden_size
        )
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 2,
        prompt_depth: int = 9,
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
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            TypeError: if the method does not support the type of the backbone.
            ValueError: if a depth exceeds the number of layers of a tower, or a name is too long for the text tower.

        Example:
            ```python
            >>> from hf_prompt_models import MaPLeForImageClassification
            >>> names = ["a red key", "a blue cup"]
            >>> model = MaPLeForImageClassification.from_backbone("playground", names, prompt_depth=3)
            >>> [tuple(prompts.shape) for prompts in model.prompt_learner.vision_prompts()]
            [(2, 128), (2, 128), (2, 128)]

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            prompt_depth=prompt_depth,
            text_chunk_size=text_chunk_size,
        )


__all__ = ["MaPLeForImageClassification", "MaPLePreTrainedModel"]
