"""Zero-shot classification with hand-written prompts (CLIP, arXiv 2103.00020, §3.1.4)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.modeling_clip_utils import ClipPromptModel, TemplatePromptModel
from hf_prompt_models.models.clip_zero_shot.configuration_clip_zero_shot import ClipZeroShotConfig
from hf_prompt_models.models.clip_zero_shot.processing_clip_zero_shot import ClipZeroShotProcessor
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, check_templates


class ClipZeroShotPreTrainedModel(TemplatePromptModel, ClipPromptModel):
    """Base class of zero-shot CLIP models, with the processor class."""

    config: ClipZeroShotConfig
    processor_class = ClipZeroShotProcessor

    def _init_weights(self, module: torch.nn.Module) -> None:
        """No-op: the model has no weights besides those of the backbone."""


class ClipZeroShotForImageClassification(ClipZeroShotPreTrainedModel):
    """Zero-shot image classification by the similarity of images and class names in hand-written templates.

    The feature of a class is the mean of its normalised features over the templates, normalised again.
    """

    def __init__(self, config: ClipZeroShotConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        templates: Sequence[str] = (DEFAULT_TEMPLATE,),
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a classifier from a pretrained CLIP or SigLIP, class names and templates.

        Args:
            name_or_path: Hub id or folder of the backbone: a checkpoint of CLIP, MetaCLIP 2, SigLIP or SigLIP 2 (see
                `hf_prompt_models.backbones`). "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces; names may repeat.
            templates: sentences with one `{}`. The published lists are in `hf_prompt_models.prompts.templates`.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`,
                ….

        Raises:
            ValueError: if a template does not contain `{}`, or a name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.
        """
        templates = check_templates(templates)
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        config = ClipZeroShotConfig(
            clip_config=clip.config.to_dict(),
            **cls._tokenized_classes(class_names, templates, tokenizer, clip.config),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        return model

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the normalised mean of the normalised features over the templates, (classes, dim)."""
        features = F.normalize(prompt_features, dim=-1).unflatten(0, (-1, self.config.num_labels))
        return F.normalize(features.mean(dim=0), dim=-1)


__all__ = ["ClipZeroShotForImageClassification", "ClipZeroShotPreTrainedModel"]
