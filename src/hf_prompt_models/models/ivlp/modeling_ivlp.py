"""IVLP and VPT: independent prompts in both towers (baselines of arXiv 2210.03117; `trainers/independentVL.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptLearner, DeepPromptModel
from hf_prompt_models.models.ivlp.configuration_ivlp import IVLPConfig
from hf_prompt_models.models.ivlp.processing_ivlp import IVLPProcessor


class IVLPPreTrainedModel(DeepPromptModel):
    """Base class of IVLP models, with weight initialisation and the processor class."""

    config: IVLPConfig
    processor_class = IVLPProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DeepPromptLearner):
            module.initialize()


class IVLPForImageClassification(IVLPPreTrainedModel):
    """Image classification with deep prompts in the text tower, the image tower, or both (IVLP).

    `text_depth=0` is visual prompt tuning (VPT), and `vision_depth=0` is deep language prompting.
    """

    def __init__(self, config: IVLPConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self.prompt_learner = self.build_prompt_learner(
            config.text_depth, config.n_vision_ctx, config.vision_depth, ("text_depth", "vision_depth")
        )
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 2,
        text_depth: int = 12,
        n_vision_ctx: int = 2,
        vision_depth: int = 12,
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
            n_ctx: number of context vectors in the text tower.
            text_depth: number of layers of the text tower with prompts. With 0 the prompt is "a photo of a {}." and is
                not trained.
            n_vision_ctx: number of prompts in the image tower.
            vision_depth: number of layers of the image tower with prompts. With 0 there are none.
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if a depth exceeds the number of layers of a tower, or a name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> from hf_prompt_models import IVLPForImageClassification
            >>> names = ["a red key", "a blue cup"]
            >>> model = IVLPForImageClassification.from_backbone("playground", names, text_depth=0, vision_depth=4)
            >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
            ['prompt_learner.vision_context', 'prompt_learner.deep_vision_context']

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            text_depth=text_depth,
            n_vision_ctx=n_vision_ctx,
            vision_depth=vision_depth,
            text_chunk_size=text_chunk_size,
        )


__all__ = ["IVLPForImageClassification", "IVLPPreTrainedModel"]
